using System.Collections.Immutable;

namespace StableDiffusion.Weights;

/// <summary>What a source knows of a tensor before reading it.</summary>
/// <param name="DType">Element type as stored.</param>
/// <param name="Shape">Dimensions, row-major, outermost first; empty for a scalar.</param>
public sealed record WeightInfo(WeightDType DType, ImmutableArray<long> Shape)
{
    /// <summary>Number of elements: the product of <see cref="Shape"/>.</summary>
    public long ElementCount
    {
        get
        {
            long count = 1;
            foreach (long dimension in Shape)
            {
                count = checked(count * dimension);
            }

            return count;
        }
    }

    /// <summary>Bytes of the tensor, packed.</summary>
    public long ByteCount => checked(ElementCount * DType.Size());

    /// <summary>True when the shape is exactly <paramref name="shape"/>.</summary>
    public bool HasShape(ReadOnlySpan<long> shape) => Shape.AsSpan().SequenceEqual(shape);

    /// <inheritdoc/>
    public override string ToString() => $"{DType.SafetensorsName()} {FormatShape(Shape.AsSpan())}";

    /// <summary>A shape as messages show it: "[320, 4, 3, 3]".</summary>
    internal static string FormatShape(ReadOnlySpan<long> shape) => "[" + string.Join(", ", shape.ToArray()) + "]";
}
