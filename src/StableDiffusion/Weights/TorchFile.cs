using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using StableDiffusion.Weights.Torch;

namespace StableDiffusion.Weights;

/// <summary>
/// A file of PyTorch's <c>torch.save</c> (<c>.ckpt</c>, <c>.pt</c>, <c>.pth</c>, <c>.bin</c>), in the zip format of PyTorch 1.6 and
/// later or the one before it. The pickle inside is read by a reader that runs nothing; a file that asks for anything that weights have
/// no need of is refused by name. Tensors are read in place, by positioned reads, and reading is thread-safe.
/// </summary>
public sealed class TorchFile : IWeightSource
{
    // The first pickle of the legacy format (torch/serialization.py).
    private static readonly BigInteger LegacyMagic = BigInteger.Parse("119547037146038801333356", System.Globalization.CultureInfo.InvariantCulture);
    private const long LegacyProtocol = 1001;

    // What the dict of weights is called in a training checkpoint, the usual name first.
    private static readonly string[] WeightKeys = ["state_dict", "model", "module"];

    private readonly PositionedFile file;
    private readonly bool bigEndian;
    private readonly Dictionary<string, TorchTensorReader> tensors;

    private TorchFile(PositionedFile file, bool bigEndian, Dictionary<string, TorchTensorReader> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        Location = file.Path;
        this.file = file;
        this.bigEndian = bigEndian;
        this.tensors = tensors;
        Metadata = metadata;
        string[] names = [.. tensors.Keys];
        Array.Sort(names, StringComparer.Ordinal);
        Names = names;
    }

    /// <summary>The path the file was opened with.</summary>
    public string Location { get; }

    /// <summary>Names of all tensors in ordinal order.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The plain values beside the weights, such as "global_step" and "epoch", as text.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks that all its tensors are there.</summary>
    /// <exception cref="InvalidWeightsException">
    /// The file cannot be opened, is damaged, has no dict of tensors, or asks Python to run something that weights have no need of.
    /// </exception>
    public static TorchFile Open(string path)
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

    /// <summary>Type and shape of a tensor, or null if the file has none of that name.</summary>
    public WeightInfo? Find(string name) => tensors.TryGetValue(name, out TorchTensorReader? tensor) ? tensor.Info : null;

    /// <summary>Reads a whole tensor, packed and row-major, into <paramref name="destination"/>, whose length is exactly the tensor's.</summary>
    /// <exception cref="InvalidWeightsException">There is no such tensor, or the file was cut short since it was opened.</exception>
    /// <exception cref="ArgumentException">The destination has another length than the tensor.</exception>
    public void Read(string name, Span<byte> destination)
    {
        if (!tensors.TryGetValue(name, out TorchTensorReader? tensor))
        {
            throw new InvalidWeightsException($"'{Location}' has no tensor {SafetensorsHeader.Quote(name)}.");
        }

        if (destination.Length != tensor.Info.ByteCount)
        {
            throw new ArgumentException($"The tensor '{name}' has {tensor.Info.ByteCount} bytes, but the destination has {destination.Length}.", nameof(destination));
        }

        tensor.Read(file, name, bigEndian, destination);
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    WeightInfo? IWeightSource.Find(string name, ReadOnlySpan<long> expectedShape) => Find(name);

    void IWeightSource.Read(string name, WeightInfo info, Span<byte> destination) => Read(name, destination);

    string IWeightSource.Describe(string name) => Location;

    /// <summary>Reads an opened file; the result owns the file, unless this throws.</summary>
    /// <exception cref="InvalidWeightsException">As for <see cref="Open(string)"/>.</exception>
    internal static TorchFile Open(PositionedFile file)
    {
        byte[] begin = file.ReadBytes(0, (int)Math.Min(4, file.Length), "its first bytes");
        return IsZip(begin) ? OpenZip(file) : OpenLegacy(file);
    }

    /// <summary>True for the first bytes of a zip archive, an empty one included.</summary>
    internal static bool IsZip(ReadOnlySpan<byte> begin) => begin.StartsWith("PK\x03\x04"u8) || begin.StartsWith("PK\x05\x06"u8);

    // archive/data.pkl, archive/data/0, archive/data/1, ... and perhaps archive/byteorder.
    private static TorchFile OpenZip(PositionedFile file)
    {
        TorchZip zip = TorchZip.Read(file);
        string[] pickles = [.. zip.Names.Where(name => name == "data.pkl" || name.EndsWith("/data.pkl", StringComparison.Ordinal)).OrderBy(name => name.Length).ThenBy(name => name, StringComparer.Ordinal)];
        if (pickles.Length == 0)
        {
            throw SafetensorsHeader.Bad(file.Path, "it is a zip archive without PyTorch weights (an entry 'data.pkl')");
        }

        string root = pickles[0][..^"data.pkl".Length];
        if (zip.Has(root + "constants.pkl"))
        {
            throw SafetensorsHeader.Bad(file.Path, "it is a TorchScript program, not a file of weights");
        }

        (long at, long bytes) = zip.Locate(pickles[0])!.Value;
        TorchPickle pickle = new(file.Path);
        object? value = pickle.Read(new PickleInput(file, at, at + bytes));
        Dictionary<string, (long, long)> storages = new(StringComparer.Ordinal);
        foreach (string key in pickle.Storages.Keys)
        {
            if (zip.Locate($"{root}data/{key}") is { } place)
            {
                storages.Add(key, place);
            }
        }

        return Make(file, IsBigEndian(file, zip, root), value, storages);
    }

    private static bool IsBigEndian(PositionedFile file, TorchZip zip, string root)
    {
        const int Longest = 16;
        if (zip.Locate(root + "byteorder") is not { } place)
        {
            return false;
        }

        string order = Encoding.ASCII.GetString(file.ReadBytes(place.Begin, (int)Math.Min(place.Bytes, Longest), "its byte order")).Trim();
        return order switch
        {
            "little" => false,
            "big" => true,
            _ => throw SafetensorsHeader.Bad(file.Path, $"it has the unknown byte order {SafetensorsHeader.Quote(order)}"),
        };
    }

    // Five pickles (magic number, protocol, facts of the machine, the object, keys of the storages) and then each storage with its size.
    // Its numbers are little-endian on every machine, whatever the facts say: writers swap them.
    private static TorchFile OpenLegacy(PositionedFile file)
    {
        PickleInput input = new(file, 0, file.Length);
        TorchPickle pickle = new(file.Path);
        if (pickle.Read(input) is not BigInteger magic || magic != LegacyMagic)
        {
            throw SafetensorsHeader.Bad(file.Path, "it is a Python pickle, but none that torch.save wrote");
        }

        if (pickle.Read(input) is not LegacyProtocol)
        {
            throw SafetensorsHeader.Bad(file.Path, $"its format is not the one that PyTorch calls {LegacyProtocol}");
        }

        pickle.Read(input);
        object? value = pickle.Read(input);
        if (pickle.Read(input) is not List<object?> keys)
        {
            throw SafetensorsHeader.Bad(file.Path, "it has no list of storages");
        }

        return Make(file, bigEndian: false, value, LocateLegacyStorages(file, pickle, keys, input.Position));
    }

    private static Dictionary<string, (long, long)> LocateLegacyStorages(PositionedFile file, TorchPickle pickle, List<object?> keys, long at)
    {
        Dictionary<string, (long, long)> storages = new(StringComparer.Ordinal);
        foreach (object? item in keys)
        {
            if (item is not string key || !pickle.Storages.TryGetValue(key, out TorchStorage? storage))
            {
                throw SafetensorsHeader.Bad(file.Path, "its list of storages has one that no tensor refers to");
            }

            string part = $"its storage {SafetensorsHeader.Quote(key)}";
            long count = BinaryPrimitives.ReadInt64LittleEndian(file.ReadBytes(at, sizeof(long), part));
            at += sizeof(long);
            long size = storage.ElementBytes;
            if (count < 0 || count > (file.Length - at) / size)
            {
                throw SafetensorsHeader.Bad(file.Path, $"{part} should have {count} elements, but the file ends before, so it is truncated or damaged");
            }

            if (!storages.TryAdd(key, (at, count * size)))
            {
                throw SafetensorsHeader.Bad(file.Path, $"{part} is listed twice");
            }

            at += count * size;
        }

        return storages;
    }

    private static TorchFile Make(PositionedFile file, bool bigEndian, object? value, Dictionary<string, (long, long)> storages)
    {
        PickleDict root = value as PickleDict ?? throw SafetensorsHeader.Bad(file.Path, value is TorchTensor ? "it holds one tensor without a name" : "it holds no dict of tensors");
        PickleDict weights = ChooseWeights(file.Path, root);
        Dictionary<string, TorchTensorReader> tensors = new(StringComparer.Ordinal);
        foreach ((object? key, object? item) in weights.Items)
        {
            if (item is TorchTensor tensor)
            {
                string name = key as string ?? throw SafetensorsHeader.Bad(file.Path, "it has a tensor whose name is no text");
                tensors[name] = TorchTensorReader.Check(file.Path, name, tensor, storages.TryGetValue(tensor.View.Storage.Key, out var place) ? place : null);
            }
        }

        Dictionary<string, string> metadata = new(StringComparer.Ordinal);
        foreach ((object? key, object? item) in root.Items)
        {
            if (key is string name && TorchPickle.TextOf(item) is { } text)
            {
                metadata[name] = text;
            }
        }

        return new TorchFile(file, bigEndian, tensors, metadata);
    }

    // The dict itself if it has tensors; else the one in it that has some.
    private static PickleDict ChooseWeights(string path, PickleDict root)
    {
        foreach (string key in WeightKeys)
        {
            if (root[key] is PickleDict named && HasTensors(named) && (key == "state_dict" || !HasTensors(root)))
            {
                return named;
            }
        }

        if (HasTensors(root))
        {
            return root;
        }

        // Each dict is looked at once, however often it is in there.
        (object? Key, PickleDict Dict)[] nested = [.. root.Items.Where(item => item.Value is PickleDict).Select(item => (item.Key, Dict: (PickleDict)item.Value!)).DistinctBy(item => item.Dict).Where(item => HasTensors(item.Dict))];
        return nested.Length switch
        {
            0 => throw SafetensorsHeader.Bad(path, "it has no tensors"),
            1 => nested[0].Dict,
            _ => throw SafetensorsHeader.Bad(path, $"it has several dicts of tensors ({string.Join(", ", nested.Take(6).Select(n => SafetensorsHeader.Quote(n.Key as string ?? "?")))}) and none is called 'state_dict'"),
        };
    }

    private static bool HasTensors(PickleDict dict) => dict.Items.Exists(item => item.Value is TorchTensor);
}
