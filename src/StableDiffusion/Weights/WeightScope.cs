using System.Collections.Concurrent;
using System.Globalization;

namespace StableDiffusion.Weights;

/// <summary>
/// A place in a checkpoint: <c>scope["down_blocks"][0]["resnets"][1]</c> stands for all tensors under
/// "down_blocks.0.resnets.1.". Scopes are immutable and may be used from several threads at once; all scopes of one root share
/// a record of what was read, so that a tensor nobody wanted is an error as much as one that is missing.
/// </summary>
public sealed class WeightScope
{
    private readonly IWeightSource source;
    private readonly ConcurrentDictionary<string, byte> read;

    /// <summary>The whole of a source. The scope does not own it: keep the source open while reading.</summary>
    public WeightScope(IWeightSource source)
    {
        this.source = source ?? throw new ArgumentNullException(nameof(source));
        read = new ConcurrentDictionary<string, byte>(StringComparer.Ordinal);
        Path = "";
        Root = this;
    }

    private WeightScope(WeightScope parent, string path)
    {
        source = parent.source;
        read = parent.read;
        Root = parent.Root;
        Path = path;
    }

    /// <summary>The path in the checkpoint, without a trailing dot; empty at the root.</summary>
    public string Path { get; }

    /// <summary>The scope of the whole source.</summary>
    public WeightScope Root { get; }

    /// <summary>The source's file, index or folder, for messages.</summary>
    public string Location => source.Location;

    /// <summary>The scope one name (or several, joined by dots) further down. An empty name gives this scope.</summary>
    public WeightScope this[string name] => name.Length == 0 ? this : new WeightScope(this, Key(name));

    /// <summary>The scope of a numbered part, such as a block in a list.</summary>
    public WeightScope this[int index] => this[index.ToString(CultureInfo.InvariantCulture)];

    /// <summary>
    /// True if the tensor <paramref name="name"/> is stored under this scope. A source of random numbers says yes to everything, so
    /// whether a layer exists is to be decided by the model's configuration; this is for telling apart how a file spells it.
    /// </summary>
    public bool Has(string name) => source.Names is null || source.Find(Key(name), []) is not null;

    /// <summary>True if this scope is a stored tensor or has tensors under it.</summary>
    public bool Exists
    {
        get
        {
            if (source.Names is not { } names || Path.Length == 0)
            {
                return true;
            }

            int next = LowerBound(names, Path + ".");
            return source.Find(Path, []) is not null || (next < names.Count && IsUnder(names[next]));
        }
    }

    /// <summary>
    /// The first of several spellings that exists: <c>scope.FirstOf("to_out.0", "proj_attn")</c>, or
    /// <c>scope.FirstOf("text_model", "")</c> for a prefix that newer files leave out. If none does, the first one, so that the
    /// message about what is missing has today's name.
    /// </summary>
    public WeightScope FirstOf(params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (this[name] is { Exists: true } scope)
            {
                return scope;
            }
        }

        return this[names[0]];
    }

    /// <summary>What is stored under a name, or null if nothing is; a source of random numbers answers with the expected shape.</summary>
    public WeightInfo? Find(string name, params ReadOnlySpan<long> expectedShape) => source.Find(Key(name), expectedShape);

    /// <summary>Checks a tensor without reading it and records that it is wanted, so that a wrong file is refused before gigabytes are read.</summary>
    /// <param name="name">Key below this scope, such as "weight".</param>
    /// <param name="shape">The shape that the model's configuration asks for.</param>
    /// <exception cref="InvalidWeightsException">It is missing or has another shape or type.</exception>
    public WeightInfo Expect(string name, params ReadOnlySpan<long> shape)
    {
        string key = Key(name);
        WeightInfo info = source.Find(key, shape)
            ?? throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(key)} {WeightInfo.FormatShape(shape)} is missing from '{source.Describe(key)}'.");
        if (!info.HasShape(shape))
        {
            throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(key)} in '{source.Describe(key)}' has the shape {WeightInfo.FormatShape(info.Shape.AsSpan())}, but the configuration needs {WeightInfo.FormatShape(shape)}.");
        }

        if (!info.DType.IsLayerWeight())
        {
            throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(key)} in '{source.Describe(key)}' has the dtype {info.DType.SafetensorsName()}, but weights must be F32, F16, BF16 or F64.");
        }

        read.TryAdd(key, 0);
        return info;
    }

    /// <summary>Reads a tensor and records that it was wanted.</summary>
    /// <param name="name">Key below this scope, such as "weight".</param>
    /// <param name="shape">The shape that the model's configuration asks for.</param>
    /// <returns>The tensor in its stored type (F32, F16, BF16 or F64); the caller disposes it.</returns>
    /// <exception cref="InvalidWeightsException">It is missing, has another shape or type, or cannot be read.</exception>
    public HostTensor ReadTensor(string name, params ReadOnlySpan<long> shape)
    {
        string key = Key(name);
        WeightInfo info = Expect(name, shape);
        HostTensor tensor = new(key, info);
        try
        {
            source.Read(key, info, tensor.Bytes);
        }
        catch
        {
            tensor.Dispose();
            throw;
        }

        return tensor;
    }

    /// <summary>Reads a tensor that <see cref="Expect"/> found.</summary>
    /// <param name="name">Key below this scope, such as "weight".</param>
    /// <param name="info">What <see cref="Expect"/> gave.</param>
    /// <param name="destination">Exactly <see cref="WeightInfo.ByteCount"/> bytes.</param>
    /// <exception cref="InvalidWeightsException">It cannot be read.</exception>
    internal void Read(string name, WeightInfo info, Span<byte> destination) => source.Read(Key(name), info, destination);

    /// <summary>Bytes of a tensor that <see cref="Expect"/> found.</summary>
    /// <exception cref="InvalidWeightsException">They are more than 2 GB.</exception>
    internal int BytesOf(string name, WeightInfo info) => HostTensor.BytesOf(Key(name), info);

    /// <summary>Names under this scope that were not read yet, in ordinal order.</summary>
    /// <param name="ignored">Keys that may stay unread, as for <see cref="ThrowIfUnread"/>.</param>
    public IReadOnlyList<string> Unread(params ReadOnlySpan<string> ignored)
    {
        List<string> unread = [];
        foreach (string name in source.Names ?? [])
        {
            if ((Path.Length == 0 || IsUnder(name) || name == Path) && !read.ContainsKey(name) && !IsIgnored(name, ignored))
            {
                unread.Add(name);
            }
        }

        return unread;
    }

    /// <summary>Throws if a tensor under this scope was not read: then the file and the model's configuration do not belong together.</summary>
    /// <param name="ignored">
    /// Keys that may stay unread. "position_ids" matches wherever it is a whole part of a name between dots; several parts joined
    /// by dots match likewise.
    /// </param>
    /// <exception cref="InvalidWeightsException">Names the tensors (the first few) and their file.</exception>
    public void ThrowIfUnread(params ReadOnlySpan<string> ignored)
    {
        const int Shown = 5;
        IReadOnlyList<string> unread = Unread(ignored);
        if (unread.Count == 0)
        {
            return;
        }

        string list = string.Join(", ", unread.Take(Shown).Select(SafetensorsHeader.Quote));
        string more = unread.Count > Shown ? $" and {unread.Count - Shown} more" : "";
        throw new InvalidWeightsException($"'{source.Describe(unread[0])}' has tensors that the model's configuration has no place for: {list}{more}.");
    }

    private static bool IsIgnored(string name, ReadOnlySpan<string> ignored)
    {
        string dotted = "." + name + ".";
        foreach (string part in ignored)
        {
            if (dotted.Contains("." + part + ".", StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    private static int LowerBound(IReadOnlyList<string> sorted, string value)
    {
        int low = 0;
        int high = sorted.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (string.CompareOrdinal(sorted[middle], value) < 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private bool IsUnder(string name)
        => name.Length > Path.Length && name[Path.Length] == '.' && name.StartsWith(Path, StringComparison.Ordinal);

    private string Key(string name) => Path.Length == 0 ? name : $"{Path}.{name}";
}
