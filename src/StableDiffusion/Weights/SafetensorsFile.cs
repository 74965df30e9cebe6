using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

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

    private readonly SafeFileHandle handle;
    private readonly SafetensorsHeader header;
    private readonly long dataBegin;

    private SafetensorsFile(string path, SafeFileHandle handle, SafetensorsHeader header, long dataBegin)
    {
        Location = path;
        this.handle = handle;
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
        ArgumentException.ThrowIfNullOrEmpty(path);
        SafeFileHandle handle = OpenHandle(path);
        try
        {
            long length = Length(handle, path);
            if (length < sizeof(ulong))
            {
                throw SafetensorsHeader.Bad(path, $"it has only {length} bytes, too few for a safetensors file");
            }

            Span<byte> prefix = stackalloc byte[sizeof(ulong)];
            ReadExactly(handle, path, null, prefix, 0);
            ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
            if (headerBytes > MaxHeaderBytes)
            {
                throw SafetensorsHeader.Bad(path, $"it claims a header of {headerBytes} bytes (at most {MaxHeaderBytes} are allowed), so this is not a safetensors file");
            }

            long dataBegin = sizeof(ulong) + (long)headerBytes;
            if (dataBegin > length)
            {
                throw SafetensorsHeader.Bad(path, $"it claims a header of {headerBytes} bytes but has only {length} bytes in all, so it is truncated or not a safetensors file");
            }

            byte[] json = new byte[headerBytes];
            ReadExactly(handle, path, null, json, sizeof(ulong));
            return new SafetensorsFile(path, handle, SafetensorsHeader.Parse(path, json, length - dataBegin), dataBegin);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
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

        ReadExactly(handle, Location, name, destination, dataBegin + entry.Begin);
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

    WeightInfo? IWeightSource.Find(string name, ReadOnlySpan<long> expectedShape) => Find(name);

    void IWeightSource.Read(string name, WeightInfo info, Span<byte> destination) => Read(name, destination);

    string IWeightSource.Describe(string name) => Location;

    private static SafeFileHandle OpenHandle(string path)
    {
        try
        {
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidWeightsException($"'{path}' cannot be loaded: there is no such file.", failure);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new InvalidWeightsException($"'{path}' cannot be loaded: {(Directory.Exists(path) ? "it is a folder, not a file" : "it cannot be opened for reading")}.", failure);
        }
    }

    private static long Length(SafeFileHandle handle, string path)
    {
        try
        {
            return RandomAccess.GetLength(handle);
        }
        catch (NotSupportedException failure)
        {
            throw new InvalidWeightsException($"'{path}' cannot be loaded: it is a pipe or device, not a file.", failure);
        }
    }

    private static void ReadExactly(SafeFileHandle handle, string path, string? tensor, Span<byte> destination, long offset)
    {
        string Part() => tensor is null ? "its header" : $"the tensor {SafetensorsHeader.Quote(tensor)}";
        while (!destination.IsEmpty)
        {
            int count;
            try
            {
                count = RandomAccess.Read(handle, destination, offset);
            }
            catch (IOException failure)
            {
                throw new InvalidWeightsException($"'{path}' cannot be loaded: reading {Part()} failed.", failure);
            }

            if (count == 0)
            {
                throw SafetensorsHeader.Bad(path, $"it ends in the middle of {Part()}");
            }

            destination = destination[count..];
            offset += count;
        }
    }
}
