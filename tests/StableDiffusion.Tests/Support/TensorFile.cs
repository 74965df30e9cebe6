using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace StableDiffusion.Tests.Support;

/// <summary>
/// A reader of safetensors for the tests, independent of the library's own: the whole file in memory, and every tensor a typed array.
/// It trusts the file; the library's reader is the one that must refuse hostile ones.
/// </summary>
public sealed class TensorFile
{
    readonly byte[] bytes;
    readonly int dataStart;
    readonly Dictionary<string, JsonElement> entries = [];

    TensorFile(byte[] bytes)
    {
        this.bytes = bytes;
        int headerLength = checked((int)BinaryPrimitives.ReadInt64LittleEndian(bytes));
        dataStart = sizeof(long) + headerLength;
        JsonElement header = JsonDocument.Parse(bytes.AsMemory(sizeof(long), headerLength)).RootElement;
        foreach (JsonProperty entry in header.EnumerateObject().Where(entry => entry.Name != "__metadata__"))
        {
            entries.Add(entry.Name, entry.Value);
        }
    }

    /// <summary>Reads a file whole.</summary>
    public static TensorFile Read(string path) => new(File.ReadAllBytes(path));

    /// <summary>The names of all tensors.</summary>
    public IReadOnlyCollection<string> Names => entries.Keys;

    /// <summary>Whether the file has a tensor of that name.</summary>
    public bool Contains(string name) => entries.ContainsKey(name);

    /// <summary>One tensor by name.</summary>
    public TestTensor this[string name]
    {
        get
        {
            if (!entries.TryGetValue(name, out JsonElement entry))
            {
                throw new KeyNotFoundException($"The fixture file has no tensor '{name}'.");
            }
            int[] shape = [.. entry.GetProperty("shape").EnumerateArray().Select(size => size.GetInt32())];
            int begin = entry.GetProperty("data_offsets")[0].GetInt32();
            int end = entry.GetProperty("data_offsets")[1].GetInt32();
            ReadOnlySpan<byte> raw = bytes.AsSpan(dataStart + begin, end - begin);
            string dtype = entry.GetProperty("dtype").GetString()!;
            Array data = dtype switch
            {
                "F32" => MemoryMarshal.Cast<byte, float>(raw).ToArray(),
                "F64" => MemoryMarshal.Cast<byte, double>(raw).ToArray(),
                "I64" => MemoryMarshal.Cast<byte, long>(raw).ToArray(),
                "I32" => MemoryMarshal.Cast<byte, int>(raw).ToArray(),
                "U8" => raw.ToArray(),
                "F16" => MemoryMarshal.Cast<byte, Half>(raw).ToArray(),
                "BF16" => MemoryMarshal.Cast<byte, ushort>(raw).ToArray(),
                _ => throw new NotSupportedException($"Tensor '{name}' has dtype {dtype}, which the test reader does not know."),
            };
            return new TestTensor(name, dtype, shape, data);
        }
    }
}

/// <summary>
/// A tensor of a fixture, row-major. <paramref name="Data"/> is float[], double[], long[], int[], byte[], Half[] or, for BF16, the raw
/// bits as ushort[].
/// </summary>
public sealed record TestTensor(string Name, string DType, int[] Shape, Array Data)
{
    /// <summary>Number of elements.</summary>
    public int Length => Data.Length;

    /// <summary>The elements as they are stored; the type must be that of <see cref="Data"/>.</summary>
    public T[] As<T>() => (T[])Data;

    /// <summary>The elements as float32: F32 as stored, F16 and BF16 widened exactly, the others converted.</summary>
    public float[] ToSingle() => Data switch
    {
        float[] values => values,
        _ => [.. ToDouble().Select(value => (float)value)],
    };

    /// <summary>The elements as float64; exact for all but large I64.</summary>
    public double[] ToDouble() => Data switch
    {
        double[] values => values,
        float[] values => Array.ConvertAll(values, value => (double)value),
        long[] values => Array.ConvertAll(values, value => (double)value),
        int[] values => Array.ConvertAll(values, value => (double)value),
        byte[] values => Array.ConvertAll(values, value => (double)value),
        Half[] values => Array.ConvertAll(values, value => (double)value),
        ushort[] bits => Array.ConvertAll(bits, value => (double)BitConverter.UInt32BitsToSingle((uint)value << 16)),
        _ => throw new NotSupportedException($"Tensor '{Name}' of {DType} has no conversion to numbers."),
    };

    /// <summary>Entry <paramref name="index"/> of the first axis, for instance one step of a stacked trajectory, as float32.</summary>
    public float[] Slice(int index)
    {
        int size = Length / Shape[0];
        return ToSingle().AsSpan(index * size, size).ToArray();
    }

    /// <summary>The shape as text, as in "[1, 4, 8, 8]".</summary>
    public string ShapeText => $"[{string.Join(", ", Shape)}]";
}
