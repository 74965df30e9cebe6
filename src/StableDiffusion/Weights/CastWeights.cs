using System.Runtime.InteropServices;

namespace StableDiffusion.Weights;

/// <summary>The tensors of another source with floating-point ones in another type, rounded to nearest even. Others stay as they are.</summary>
internal sealed class CastWeights : IWeightSource
{
    private readonly IWeightSource inner;
    private readonly WeightDType dtype;

    /// <summary>Creates a view; it takes the source over.</summary>
    /// <param name="inner">Where the tensors are.</param>
    /// <param name="dtype">F32, F16 or BF16.</param>
    public CastWeights(IWeightSource inner, WeightDType dtype) => (this.inner, this.dtype) = (inner, dtype);

    public string Location => inner.Location;

    public IReadOnlyList<string>? Names => inner.Names;

    public WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape) =>
        inner.Find(name, expectedShape) is not { } info ? null : info.DType.IsLayerWeight() ? info with { DType = dtype } : info;

    /// <inheritdoc/>
    /// <exception cref="InvalidWeightsException">It could not be read, or a finite value is beyond the range of the type.</exception>
    public void Read(string name, WeightInfo info, Span<byte> destination)
    {
        WeightInfo stored = inner.Find(name, [])!;
        if (stored.DType == info.DType)
        {
            inner.Read(name, stored, destination);
            return;
        }
        using HostTensor tensor = new(name, stored);
        inner.Read(name, stored, tensor.Bytes);
        float[] values = tensor.ToArray();
        switch (dtype)
        {
            case WeightDType.Float32:
                values.CopyTo(MemoryMarshal.Cast<byte, float>(destination));
                break;
            case WeightDType.Float16:
                ToHalf(name, values, MemoryMarshal.Cast<byte, Half>(destination));
                break;
            default:
                Span<ushort> upper = MemoryMarshal.Cast<byte, ushort>(destination);
                for (int i = 0; i < values.Length; i++)
                {
                    upper[i] = ToBFloat16(values[i]);
                }
                break;
        }
    }

    public string Describe(string name) => inner.Describe(name);

    public void Dispose() => inner.Dispose();

    private void ToHalf(string name, float[] values, Span<Half> destination)
    {
        for (int i = 0; i < values.Length; i++)
        {
            destination[i] = (Half)values[i];
            if (Half.IsInfinity(destination[i]) && float.IsFinite(values[i]))
            {
                throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(name)} in '{inner.Describe(name)}' has the value {values[i]}, beyond what float16 can hold: take bf16 or fp32.");
            }
        }
    }

    private static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        // To nearest, ties to even; a NaN must not become an infinity.
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
