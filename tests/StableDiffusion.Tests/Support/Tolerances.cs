using System.Globalization;

namespace StableDiffusion.Tests.Support;

/// <summary>
/// The limits of the tests, each with its reason, and the error measures they are limits of. The fixtures carry their own limits
/// (<c>tolerance</c>: 16 times what float32 rounding does to the reference itself); those are read, never widened.
/// </summary>
public static class Tolerances
{
    /// <summary>
    /// An elementwise float32 result of a few operations: the least limit the fixtures give, about 16 roundings (16 * 2^-23).
    /// </summary>
    public const double ElementwiseFloat32 = 2e-6;

    /// <summary>
    /// Entries of a scheduler's float32 tables, each against itself: they are computed in the reference's dtypes and order, so what is
    /// left is the last bit or two of logarithms, powers and exponentials that go into them (about 8 * 2^-23).
    /// </summary>
    public const double SchedulerTable = 1e-6;

    /// <summary>
    /// What the reference's own float32 arithmetic may leave in the latents between steps, as a share of those before the step: Euler's
    /// first step with a zero terminal signal-to-noise ratio subtracts numbers of 10^4 to reach 10^1. The fixtures' limit is for all
    /// latents together, and stems from the last, where nothing is added to it.
    /// </summary>
    public const double StepRounding = 4 * 5.9604645e-8;

    /// <summary>
    /// A chain of ops whose weights, inputs and outputs are rounded to a type of unit roundoff u, as max|out - ref| / max|ref|: 8 u sqrt(ops).
    /// Each op adds three independent rounding errors of u/sqrt(3) of the value, so u together, and they add up like a random walk; the largest
    /// of many elements is 4 times the typical one, and a norm or a softmax may double what comes in (docs/numerics.md).
    /// </summary>
    /// <param name="dtype">Of weights, inputs and outputs.</param>
    /// <param name="ops">Their number.</param>
    /// <param name="product">What a CPU multiplies, <see cref="StableDiffusion.Native.DeviceInfo.ProductDTypeFor"/>.</param>
    public static double HalfPrecision(StableDiffusion.Native.DType dtype, long ops, StableDiffusion.Native.DType product = default) =>
        8 * UnitRoundoff(dtype, product) * Math.Sqrt(ops);

    /// <summary>
    /// The same for the typical element instead of the worst, as <see cref="TypicalError"/>: 2 u sqrt(ops), the random walk times what a norm or a
    /// softmax may make of it.
    /// </summary>
    public static double HalfPrecisionTypical(StableDiffusion.Native.DType dtype, long ops, StableDiffusion.Native.DType product = default) =>
        2 * UnitRoundoff(dtype, product) * Math.Sqrt(ops);

    /// <summary>
    /// What Winograd's convolutions add to the error of a chain of ops in float32, as max|out - ref| / max|ref|: each errs by 16 times the limit of its plain
    /// sum of K products, 8 * 2^-24 sqrt(K) + 4 * 2^-24 (native/tests/tolerances.h); they add up like a random walk, and a norm or a softmax may double what
    /// comes in (docs/numerics.md).
    /// </summary>
    /// <param name="sums">K of each convolution.</param>
    public static double Winograd(IEnumerable<long> sums) => 2 * Math.Sqrt(sums.Sum(k => Math.Pow(16 * ((8 * Math.Sqrt(k)) + 4) / (1 << 24), 2)));

    /// <summary>sqrt(sum (out - ref)^2 / sum ref^2) over a whole tensor.</summary>
    public static double TypicalError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        double difference = 0, size = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            difference += ((double)actual[i] - expected[i]) * ((double)actual[i] - expected[i]);
            size += (double)expected[i] * expected[i];
        }
        return Math.Sqrt(difference / size);
    }

    /// <summary>
    /// <see cref="UnitRoundoff(StableDiffusion.Native.DType)"/> of an op beside weights of a type, which <paramref name="product"/> says how a CPU multiplies. In float16, up to 64
    /// terms are added in it: the i-th addition rounds a sum of i of them by 2^-12 of itself, typically, so all of them add 2^-12 sqrt(64 / 2) of the result,
    /// as much as a rounding of unit roundoff sqrt(3) times that, 2.4e-3.
    /// </summary>
    private static double UnitRoundoff(StableDiffusion.Native.DType dtype, StableDiffusion.Native.DType product) =>
        product == StableDiffusion.Native.DType.Float16 ? Math.Sqrt(Math.Pow(UnitRoundoff(dtype), 2) + (3 * 64.0 / 2 / 4096 / 4096)) : UnitRoundoff(dtype);

    /// <summary>Half the distance from 1 to the next number: float16 has 11 bits of significand, bfloat16 8.</summary>
    public static double UnitRoundoff(StableDiffusion.Native.DType dtype) => dtype switch
    {
        StableDiffusion.Native.DType.Float16 => 1.0 / 2048,
        StableDiffusion.Native.DType.BFloat16 => 1.0 / 256,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "no half precision"),
    };

    /// <summary>max|out - ref| / max|ref| over a whole tensor, the fixtures' measure; a zero reference leaves max|out - ref|.</summary>
    /// <returns>The error, or NaN when a value of <paramref name="actual"/> is NaN.</returns>
    public static double PeakError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        if (actual.Length != expected.Length)
        {
            throw new ArgumentException($"{actual.Length} elements cannot be compared with {expected.Length}.", nameof(actual));
        }
        double peak = PeakMagnitude(expected);
        return MaxDifference(actual, expected) / (peak > 0 ? peak : 1);
    }

    /// <summary>Asserts max|out - ref| / max|ref| within a limit.</summary>
    /// <param name="what">What is compared: begins the failure text.</param>
    public static void AssertPeakError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, IReadOnlyList<int> shape, double limit, string what)
    {
        double peak = PeakMagnitude(expected);
        AssertDifference(actual, expected, shape, limit * (peak > 0 ? peak : 1), what);
    }

    /// <summary>Asserts max|out - ref| / max|ref| within a limit against a fixture's tensor.</summary>
    public static void AssertPeakError(ReadOnlySpan<float> actual, TestTensor expected, double limit, string what) =>
        AssertPeakError(actual, expected.ToSingle(), expected.Shape, limit, what);

    /// <summary>Asserts max|out - ref| within a limit, for the tensors that have a <c>tolerance_abs</c>.</summary>
    public static void AssertAbsoluteError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, IReadOnlyList<int> shape, double limit, string what) =>
        AssertDifference(actual, expected, shape, limit, what);

    /// <summary>Asserts |out - ref| / |ref| within a limit for each element by itself; a zero reference must be met exactly.</summary>
    public static void AssertElementwiseError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, IReadOnlyList<int> shape, double limit, string what)
    {
        AssertLength(actual.Length, expected.Length, shape, what);
        for (int i = 0; i < expected.Length; i++)
        {
            AssertDifference(actual.Slice(i, 1), expected.Slice(i, 1), [1], limit * Math.Abs((double)expected[i]), $"{what}{Position(i, shape)}");
        }
    }

    /// <summary>Asserts that two sequences are equal element by element, for copies, layouts, tokens and integers.</summary>
    public static void AssertEqual<T>(ReadOnlySpan<T> actual, ReadOnlySpan<T> expected, IReadOnlyList<int> shape, string what)
        where T : IEquatable<T>
    {
        AssertLength(actual.Length, expected.Length, shape, what);
        for (int i = 0; i < expected.Length; i++)
        {
            if (!actual[i].Equals(expected[i]))
            {
                Assert.Fail($"{what}: shape {Text(shape)} of {typeof(T).Name}, first bad index {Position(i, shape)}, is {actual[i]}, should be {expected[i]}");
            }
        }
    }

    static void AssertDifference(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, IReadOnlyList<int> shape, double limit, string what)
    {
        AssertLength(actual.Length, expected.Length, shape, what);
        double worst = MaxDifference(actual, expected);
        if (worst <= limit)
        {
            return;
        }
        for (int i = 0; i < expected.Length; i++)
        {
            // Negated so that a NaN, which compares false with everything, is found.
            if (!(Difference(actual[i], expected[i]) <= limit))
            {
                Assert.Fail(string.Create(CultureInfo.InvariantCulture,
                    $"{what}: shape {Text(shape)} of float32, first bad index {Position(i, shape)}, is {actual[i]:R}, should be {expected[i]:R}; worst difference {worst:G4}, limit {limit:G4}, error over limit {worst / limit:G4}"));
            }
        }
    }

    static void AssertLength(int actual, int expected, IReadOnlyList<int> shape, string what)
    {
        if (actual != expected)
        {
            Assert.Fail($"{what}: has {actual} elements, should have {expected}, shape {Text(shape)}");
        }
    }

    static double PeakMagnitude(ReadOnlySpan<float> values)
    {
        double peak = 0;
        foreach (float value in values)
        {
            peak = Math.Max(peak, Math.Abs((double)value));
        }
        return peak;
    }

    static double MaxDifference(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        double worst = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            worst = Math.Max(worst, Difference(actual[i], expected[i]));
        }
        return worst;
    }

    /// <summary>|a - e|, where an infinity equals itself.</summary>
    static double Difference(float actual, float expected) => actual == expected ? 0 : Math.Abs((double)actual - expected);

    static string Text(IReadOnlyList<int> shape) => $"[{string.Join(", ", shape)}]";

    static string Position(int index, IReadOnlyList<int> shape)
    {
        var position = new int[shape.Count];
        for (int axis = shape.Count - 1; axis >= 0; axis--)
        {
            (index, position[axis]) = Math.DivRem(index, shape[axis]);
        }
        return Text(position);
    }
}
