using System.Buffers.Binary;

namespace StableDiffusion.Weights;

/// <summary>
/// A safetensors file (github.com/huggingface/safetensors), opened for positioned reads. Opening reads and checks the whole header,
/// so a truncated, damaged or hostile file is refused before any tensor is touched. Reading is thread-safe; nothing is mapped, so
/// a file that is cut short while it is open is an exception and not a fault.
/// </summary>
public sealed class SafetensorsFile : IWeightSource
{
    /// <summary>The longest header that is accepted, as in the reference implementation.</summary>
    public const long MaxHeaderBytes = 100_000_000;

    private readonly PositionedFile file;
    private readonly SafetensorsHeader header;
    private readonly long dataBegin;

    private SafetensorsFile(PositionedFile file, SafetensorsHeader header, long dataBegin)
    {
        Location = file.Path;
        this.file = file;
        this.header = header;
        this.dataBegin = dataBegin;
        string[] names = [.. header.Tensors.Keys];
        Array.Sort(names, StringComparer.Ordinal);
        Names = names;
    }

    /// <summary>The path the file was opened with.</summary>
    public string Location { get; }

    /// <summary>Names of all tensors in ordinal order.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The free text stored under "__metadata__"; empty if there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => header.Metadata;

    /// <summary>Bytes of all tensors together.</summary>
    public long TensorBytes => header.Tensors.Values.Sum(entry => entry.End - entry.Begin);

    /// <summary>Opens a file and checks its header.</summary>
    /// <exception cref="InvalidWeightsException">The file cannot be opened or breaks a rule of the format.</exception>
    public static SafetensorsFile Open(string path)
    {
        PositionedFile file = PositionedFile.Open(path);
        try
        {
            return Open(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Checks the header of an opened file; the result owns the file, unless this throws.</summary>
    /// <exception cref="InvalidWeightsException">The file breaks a rule of the format.</exception>
    internal static SafetensorsFile Open(PositionedFile file)
    {
        if (file.Length < sizeof(ulong))
        {
            throw SafetensorsHeader.Bad(file.Path, $"it has only {file.Length} bytes, too few for a safetensors file");
        }

        Span<byte> prefix = stackalloc byte[sizeof(ulong)];
        file.ReadExactly(prefix, 0, "its header");
        ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (headerBytes > MaxHeaderBytes)
        {
            throw SafetensorsHeader.Bad(file.Path, $"it claims a header of {headerBytes} bytes (at most {MaxHeaderBytes} are allowed), so this is not a safetensors file");
        }

        long dataBegin = sizeof(ulong) + (long)headerBytes;
        if (dataBegin > file.Length)
        {
            throw SafetensorsHeader.Bad(file.Path, $"it claims a header of {headerBytes} bytes but has only {file.Length} bytes in all, so it is truncated or not a safetensors file");
        }

        byte[] json = file.ReadBytes(sizeof(ulong), (int)headerBytes, "its header");
        return new SafetensorsFile(file, SafetensorsHeader.Parse(file.Path, json, file.Length - dataBegin), dataBegin);
    }

    /// <summary>Type and shape of a tensor, or null if the file has none of that name.</summary>
    public WeightInfo? Find(string name) => header.Tensors.TryGetValue(name, out SafetensorsHeader.Entry entry) ? entry.Info : null;

    /// <summary>Reads a whole tensor into <paramref name="destination"/>, whose length is exactly the tensor's.</summary>
    /// <exception cref="InvalidWeightsException">There is no such tensor, or the file was cut short since it was opened.</exception>
    /// <exception cref="ArgumentException">The destination has another length than the tensor.</exception>
    public void Read(string name, Span<byte> destination)
    {
        if (!header.Tensors.TryGetValue(name, out SafetensorsHeader.Entry entry))
        {
            throw new InvalidWeightsException($"'{Location}' has no tensor {SafetensorsHeader.Quote(name)}.");
        }

        if (destination.Length != entry.End - entry.Begin)
        {
            throw new ArgumentException($"The tensor '{name}' has {entry.End - entry.Begin} bytes, but the destination has {destination.Length}.", nameof(destination));
        }

        file.ReadExactly(destination, dataBegin + entry.Begin, $"the tensor {SafetensorsHeader.Quote(name)}");
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    WeightInfo? IWeightSource.Find(string name, ReadOnlySpan<long> expectedShape) => Find(name);

    void IWeightSource.Read(string name, WeightInfo info, Span<byte> destination) => Read(name, destination);

    string IWeightSource.Describe(string name) => Location;
}
