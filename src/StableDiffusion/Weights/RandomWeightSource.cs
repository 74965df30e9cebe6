using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Text;

namespace StableDiffusion.Weights;

/// <summary>
/// Has every tensor that is asked for, of the shape that is asked for, filled with pseudo-random numbers: for measuring a real
/// architecture without its checkpoint. Element i of a tensor depends only on the seed, the name and i, so two runs, and any number
/// of threads, see the same weights. Values are such that activations stay near unit scale: matrices and convolutions about normal
/// with standard deviation 1/sqrt(fan-in), the scales of norms 1 ± 0.05, biases ± 0.02.
/// </summary>
public sealed class RandomWeightSource : IWeightSource
{
    // Four bytes added up (an Irwin-Hall sum of order 4) are near enough to a normal number, and cost almost nothing.
    private const float SumMean = 4 * 127.5f;
    private const float SumDeviation = 147.8f; // sqrt(4 (256^2 - 1) / 12)
    private const int SumCount = 4 * 255 + 1;

    private readonly ulong seed;
    private readonly WeightDType dtype;

    /// <summary>Creates a source.</summary>
    /// <param name="seed">Another seed gives other weights.</param>
    /// <param name="dtype">Type that tensors are "stored" in: F32, F16 or BF16.</param>
    public RandomWeightSource(ulong seed = 0, WeightDType dtype = WeightDType.Float32)
    {
        if (dtype is not (WeightDType.Float32 or WeightDType.Float16 or WeightDType.BFloat16))
        {
            throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "Random weights are F32, F16 or BF16.");
        }

        this.seed = seed;
        this.dtype = dtype;
        Location = $"random weights (seed {seed})";
    }

    /// <inheritdoc/>
    public string Location { get; }

    /// <summary>Null: the source has any tensor.</summary>
    public IReadOnlyList<string>? Names => null;

    /// <summary>A tensor of the expected shape, whatever the name.</summary>
    public WeightInfo Find(string name, ReadOnlySpan<long> expectedShape) => new(dtype, [.. expectedShape]);

    WeightInfo? IWeightSource.Find(string name, ReadOnlySpan<long> expectedShape) => Find(name, expectedShape);

    /// <inheritdoc/>
    public void Read(string name, WeightInfo info, Span<byte> destination)
    {
        if (destination.Length != info.ByteCount)
        {
            throw new ArgumentException($"The tensor '{name}' has {info.ByteCount} bytes, but the destination has {destination.Length}.", nameof(destination));
        }

        ulong key = Mix(HashName(name) ^ Mix(seed));
        (float mean, float deviation) = Distribution(name, info.Shape);
        if (info.DType == WeightDType.Float32)
        {
            Span<float> values = stackalloc float[SumCount];
            FillTable(values, mean, deviation);
            Fill(MemoryMarshal.Cast<byte, float>(destination), values, key);
        }
        else
        {
            Span<ushort> values = stackalloc ushort[SumCount];
            FillTable(values, mean, deviation, info.DType);
            Fill(MemoryMarshal.Cast<byte, ushort>(destination), values, key);
        }
    }

    /// <inheritdoc/>
    public string Describe(string name) => Location;

    /// <summary>Nothing to release.</summary>
    public void Dispose()
    {
    }

    private static (float Mean, float Deviation) Distribution(string name, ImmutableArray<long> shape)
    {
        if (shape.Length >= 2)
        {
            long fanIn = 1;
            foreach (long dimension in shape.AsSpan()[1..])
            {
                fanIn *= dimension;
            }

            return (0f, 1f / MathF.Sqrt(Math.Max(fanIn, 1)));
        }

        return name.EndsWith("bias", StringComparison.Ordinal) ? (0f, 0.02f) : (1f, 0.05f);
    }

    // Only 1021 values can occur, so each tensor has a table of them and filling is one look-up per element.
    private static void FillTable(Span<float> table, float mean, float deviation)
    {
        for (int sum = 0; sum < table.Length; sum++)
        {
            table[sum] = mean + ((sum - SumMean) / SumDeviation * deviation);
        }
    }

    private static void FillTable(Span<ushort> table, float mean, float deviation, WeightDType dtype)
    {
        Span<float> values = stackalloc float[SumCount];
        FillTable(values, mean, deviation);
        for (int sum = 0; sum < table.Length; sum++)
        {
            table[sum] = dtype == WeightDType.Float16
                ? BitConverter.HalfToUInt16Bits((Half)values[sum])
                : (ushort)(BitConverter.SingleToUInt32Bits(values[sum]) >> 16);
        }
    }

    private static void Fill<T>(Span<T> destination, ReadOnlySpan<T> table, ulong key)
    {
        Span<uint> sums = stackalloc uint[256];
        for (int begin = 0; begin < destination.Length; begin += sums.Length)
        {
            SumBytesOfHashes(sums, (uint)begin, key);
            Span<T> part = destination[begin..Math.Min(begin + sums.Length, destination.Length)];
            for (int i = 0; i < part.Length; i++)
            {
                part[i] = table[(int)sums[i]];
            }
        }
    }

    // sums[i] = the sum of the four bytes of hash(first + i), for a whole number of vectors.
    private static void SumBytesOfHashes(Span<uint> sums, uint first, ulong key)
    {
        Vector256<uint> low = Vector256.Create((uint)key);
        Vector256<uint> high = Vector256.Create((uint)(key >> 32));
        Vector256<uint> everySecondByte = Vector256.Create(0x00FF00FFu);
        Vector256<uint> index = Vector256.Create(first) + Vector256<uint>.Indices;
        for (int i = 0; i < sums.Length; i += Vector256<uint>.Count)
        {
            // The 32-bit finalizer "lowbias32" of C. Wellons, keyed before and within.
            Vector256<uint> x = index ^ low;
            x ^= x >>> 16;
            x *= 0x7FEB352Du;
            x = (x ^ (x >>> 15)) + high;
            x *= 0x846CA68Bu;
            x ^= x >>> 16;
            x = (x & everySecondByte) + ((x >>> 8) & everySecondByte);
            x = (x & Vector256.Create(0xFFFFu)) + (x >>> 16);
            x.CopyTo(sums[i..]);
            index += Vector256.Create((uint)Vector256<uint>.Count);
        }
    }

    private static ulong HashName(string name)
    {
        // FNV-1a over UTF-8.
        ulong hash = 14695981039346656037;
        foreach (byte b in Encoding.UTF8.GetBytes(name))
        {
            hash = (hash ^ b) * 1099511628211;
        }

        return hash;
    }

    private static ulong Mix(ulong value)
    {
        // The output function of SplitMix64.
        value += 0x9E3779B97F4A7C15;
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
