namespace StableDiffusion.Tests.Models;

/// <summary>The limits of the model tests that are not about a fixture's case, as max|out - ref| / max|ref|.</summary>
internal static class ModelLimits
{
    /// <summary>Two float32 evaluations of a small model whose sums run in another order: the widest limit that the fixtures give a whole model.</summary>
    public const double WholeModel = 2.6e-5;

    /// <summary>
    /// A small model whose weights were rounded to a type with unit roundoff u. Each of its N matrix products moves its output by about
    /// u/sqrt(3) relatively and independently, so all of them by sqrt(N/3) u; N is at most 200, and the peak over a tensor is about 4 times
    /// the typical error.
    /// </summary>
    public static double RoundedWeights(double unitRoundoff) => 32 * unitRoundoff;

    /// <summary>Unit roundoff of float16: 11 bits.</summary>
    public const double Float16 = 1.0 / 2048;

    /// <summary>Unit roundoff of bfloat16: 8 bits.</summary>
    public const double BFloat16 = 1.0 / 256;
}
