using System.Runtime.InteropServices;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Support;

/// <summary>
/// A checkpoint of any size without its numbers: names and shapes. What is read has the number of its row (the index along the first axis) in every element, or is refused.
/// </summary>
internal sealed class NamesOnlySource : IWeightSource
{
    private readonly Dictionary<string, WeightInfo> tensors;
    private readonly bool readable;

    public NamesOnlySource(IEnumerable<KeyValuePair<string, long[]>> shapes, bool readable = true)
    {
        tensors = shapes.ToDictionary(pair => pair.Key, pair => new WeightInfo(WeightDType.Float32, [.. pair.Value]), StringComparer.Ordinal);
        this.readable = readable;
        Names = [.. tensors.Keys.Order(StringComparer.Ordinal)];
    }

    public string Location => "names.safetensors";

    public IReadOnlyList<string> Names { get; }

    public WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape) => tensors.GetValueOrDefault(name);

    public void Read(string name, WeightInfo info, Span<byte> destination)
    {
        if (!readable)
        {
            throw new NoNumbersException();
        }
        Span<float> values = MemoryMarshal.Cast<byte, float>(destination);
        int rows = (int)info.Shape[0], columns = values.Length / rows;
        for (int row = 0; row < rows; row++)
        {
            values.Slice(row * columns, columns).Fill(row);
        }
    }

    public string Describe(string name) => Location;

    public void Dispose()
    {
    }
}

/// <summary>Names and shapes are all right, and now the numbers would be read.</summary>
internal sealed class NoNumbersException : Exception;
