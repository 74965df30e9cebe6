using System.Runtime.InteropServices;

namespace StableDiffusion.Random;

/// <summary>
/// PyTorch's CPU generator: the numbers of <c>torch.Generator().manual_seed(seed)</c>, so that a seed gives the picture it gives in
/// diffusers. Follows aten/src/ATen/core/DistributionsHelper.h and native/cpu/DistributionTemplates.h of PyTorch 2.6. Draws in
/// float32 are identical bit for bit with PyTorch on x86 processors with AVX2; its plain code, and later releases, may differ in the
/// last place. float16 and bfloat16 draws are those of 2.6; from PyTorch's pull request 175988 on they are rounded float32 draws.
/// Not thread-safe: a generator belongs to one generation.
/// </summary>
public sealed class TorchCpuGenerator : IGenerator
{
    // Draws of fewer values than this are made one by one in double precision.
    private const int BlockLength = 16;

    // torch.randn computes normal * 1 + 0. The sum turns a minus zero, which a radius of zero gives, into zero.
    private const float Mean = 0f;

    private readonly MersenneTwister twister;
    private double? spare;

    /// <summary>Starts the stream of a seed. Only the low 32 bits of it count, as in PyTorch.</summary>
    public TorchCpuGenerator(ulong seed)
    {
        Seed = seed;
        twister = new MersenneTwister((uint)seed);
    }

    /// <summary>The seed that the stream was started with.</summary>
    public ulong Seed { get; }

    /// <summary>The next 32 bits of the stream.</summary>
    public uint NextUInt32() => twister.Next();

    /// <summary>Uniform numbers in [0, 1), as <c>torch.rand</c> in float32.</summary>
    public void Uniform(Span<float> destination)
    {
        foreach (ref float value in destination)
        {
            value = (twister.Next() & 0xFFFFFF) * (1f / 0x1000000);
        }
    }

    /// <summary>Standard normal numbers, as <c>torch.randn</c> in float32.</summary>
    public void Normal(Span<float> destination)
    {
        if (destination.Length < BlockLength)
        {
            foreach (ref float value in destination)
            {
                value = (float)NextNormal();
            }

            return;
        }

        Uniform(destination);
        for (int i = 0; i + BlockLength <= destination.Length; i += BlockLength)
        {
            TransformBlock(destination.Slice(i, BlockLength));
        }

        if (destination.Length % BlockLength != 0)
        {
            Span<float> last = destination[^BlockLength..];
            Uniform(last);
            TransformBlock(last);
        }
    }

    /// <summary>Standard normal numbers, as <c>torch.randn</c> in float64.</summary>
    public void Normal(Span<double> destination)
    {
        if (destination.Length < BlockLength)
        {
            foreach (ref double value in destination)
            {
                value = NextNormal();
            }

            return;
        }

        Uniform(destination);
        for (int i = 0; i + BlockLength <= destination.Length; i += BlockLength)
        {
            TransformBlock(destination.Slice(i, BlockLength));
        }

        if (destination.Length % BlockLength != 0)
        {
            Span<double> last = destination[^BlockLength..];
            Uniform(last);
            TransformBlock(last);
        }
    }

    /// <summary>
    /// Standard normal numbers, as <c>torch.randn</c> in float16 of PyTorch 2.6: made from uniform numbers of 11 bits, so they
    /// are other numbers than the rounded float32 ones.
    /// </summary>
    public void Normal(Span<Half> destination) => ReducedNormal<Float16>(MemoryMarshal.Cast<Half, ushort>(destination));

    /// <summary>
    /// Standard normal numbers, as <c>torch.randn</c> in bfloat16 of PyTorch 2.6: made from uniform numbers of 8 bits, so they
    /// are other numbers than the rounded float32 ones.
    /// </summary>
    /// <param name="destination">Receives the bits of the bfloat16 numbers.</param>
    public void NormalBFloat16(Span<ushort> destination) => ReducedNormal<BFloat16>(destination);

    private static void TransformBlock(Span<float> block)
    {
        for (int j = 0; j < BlockLength / 2; j++)
        {
            float radius = MathF.Sqrt(-2f * CephesMath.Log(1f - block[j])); // 1 - [0, 1) is never 0.
            (float sin, float cos) = CephesMath.SinCos((float)(2 * Math.PI) * block[j + 8]);
            block[j] = (radius * cos) + Mean;
            block[j + 8] = (radius * sin) + Mean;
        }
    }

    private static void TransformBlock(Span<double> block)
    {
        for (int j = 0; j < BlockLength / 2; j++)
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - block[j]));
            double theta = 2 * Math.PI * block[j + 8];
            block[j] = (radius * Math.Cos(theta)) + Mean;
            block[j + 8] = (radius * Math.Sin(theta)) + Mean;
        }
    }

    // Box-Muller in double precision; the second number of each pair is kept for the next short draw.
    private double NextNormal()
    {
        if (spare is { } kept)
        {
            spare = null;
            return kept;
        }

        double u1 = NextUniformDouble();
        double u2 = NextUniformDouble();
        double radius = Math.Sqrt(-2 * Log1P(-u2));
        double theta = 2 * Math.PI * u1;
        spare = (radius * Math.Sin(theta)) + Mean;
        return (radius * Math.Cos(theta)) + Mean;
    }

    // log(1 + x) without the loss of digits for small x: W. Kahan's correction, as .NET has no log1p.
    private static double Log1P(double x)
    {
        double sum = 1 + x;
        return sum == 1 ? x : Math.Log(sum) * (x / (sum - 1));
    }

    private double NextUniformDouble()
    {
        ulong high = twister.Next();
        ulong bits = (high << 32) | twister.Next();
        return (bits & ((1UL << 53) - 1)) * (1.0 / (1UL << 53));
    }

    private void Uniform(Span<double> destination)
    {
        foreach (ref double value in destination)
        {
            value = NextUniformDouble();
        }
    }

    private void ReducedNormal<T>(Span<ushort> destination)
        where T : IReducedFloat
    {
        if (destination.Length < BlockLength)
        {
            foreach (ref ushort value in destination)
            {
                value = T.ToBits((float)NextNormal());
            }

            return;
        }

        float[] values = new float[destination.Length];
        ReducedUniform<T>(values);
        for (int i = 0; i + BlockLength <= values.Length; i += BlockLength)
        {
            TransformReducedBlock<T>(values.AsSpan(i, BlockLength));
        }

        if (values.Length % BlockLength != 0)
        {
            Span<float> last = values.AsSpan(values.Length - BlockLength);
            ReducedUniform<T>(last);
            TransformReducedBlock<T>(last);
        }

        for (int i = 0; i < values.Length; i++)
        {
            destination[i] = T.ToBits(values[i]);
        }
    }

    private void ReducedUniform<T>(Span<float> destination)
        where T : IReducedFloat
    {
        uint range = 1u << T.Digits;
        foreach (ref float value in destination)
        {
            value = (twister.Next() & (range - 1)) * (1f / range);
        }
    }

    // The same as the float32 block, but every intermediate is rounded to the type.
    private static void TransformReducedBlock<T>(Span<float> block)
        where T : IReducedFloat
    {
        for (int j = 0; j < BlockLength / 2; j++)
        {
            float u1 = T.Round(1f - block[j]);
            float radius = T.Round(MathF.Sqrt(T.Round(-2f * T.Round(MathF.Log(u1)))));
            float theta = T.Round((float)(2 * Math.PI * block[j + 8]));
            block[j] = T.Round(radius * T.Round(MathF.Cos(theta))) + Mean;
            block[j + 8] = T.Round(radius * T.Round(MathF.Sin(theta))) + Mean;
        }
    }

    private interface IReducedFloat
    {
        static abstract int Digits { get; }

        static abstract ushort ToBits(float value);

        static abstract float Round(float value);
    }

    private readonly struct Float16 : IReducedFloat
    {
        public static int Digits => 11;

        public static ushort ToBits(float value) => BitConverter.HalfToUInt16Bits((Half)value);

        public static float Round(float value) => (float)(Half)value;
    }

    private readonly struct BFloat16 : IReducedFloat
    {
        public static int Digits => 8;

        // To nearest, ties to even; no value here is infinite or NaN.
        public static ushort ToBits(float value)
        {
            uint bits = BitConverter.SingleToUInt32Bits(value);
            return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
        }

        public static float Round(float value) => BitConverter.UInt32BitsToSingle((uint)ToBits(value) << 16);
    }
}
