namespace StableDiffusion.Random;

/// <summary>
/// Single-precision logarithm, sine and cosine by the polynomials of the Cephes library (S. Moshier, logf.c and sinf.c), with the
/// fused multiply-adds in the places where PyTorch's vectorised normal kernel has them on x86. The result is the same bit for bit,
/// so noise is too; it does not depend on the machine.
/// </summary>
internal static class CephesMath
{
    /// <summary>Natural logarithm of a normal positive number.</summary>
    public static float Log(float x)
    {
        int bits = BitConverter.SingleToInt32Bits(x);
        float exponent = (bits >> 23) - 126;
        float m = BitConverter.Int32BitsToSingle((bits & 0x007FFFFF) | 0x3F000000); // In [0.5, 1).
        if (m < 0.70710678f)
        {
            exponent -= 1f;
            m += m;
        }

        m -= 1f;
        float square = m * m;
        float p = 7.0376836292e-2f;
        p = Fma(p, m, -1.1514610310e-1f);
        p = Fma(p, m, 1.1676998740e-1f);
        p = Fma(p, m, -1.2420140846e-1f);
        p = Fma(p, m, 1.4249322787e-1f);
        p = Fma(p, m, -1.6668057665e-1f);
        p = Fma(p, m, 2.0000714765e-1f);
        p = Fma(p, m, -2.4999993993e-1f);
        p = Fma(p, m, 3.3333331174e-1f);
        p *= m;

        // log 2 in two parts, so that exponent * 0.693359375 is exact.
        p = Fma(p, square, exponent * -2.12194440e-4f);
        p = Fma(-0.5f, square, p);
        return Fma(exponent, 0.693359375f, m + p);
    }

    /// <summary>Sine and cosine of an angle in [0, 8192).</summary>
    public static (float Sin, float Cos) SinCos(float x)
    {
        const float FourOverPi = 1.27323954473516f;
        int octant = ((int)(x * FourOverPi) + 1) & ~1;
        float n = octant;

        // x - n pi/4, with pi/4 in three parts.
        float r = Fma(n, -0.78515625f, x);
        r = Fma(n, -2.4187564849853515625e-4f, r);
        r = Fma(n, -3.77489497744594108e-8f, r);
        float square = r * r;

        float cosine = 2.443315711809948e-5f;
        cosine = Fma(cosine, square, -1.388731625493765e-3f);
        cosine = Fma(cosine, square, 4.166664568298827e-2f);
        cosine *= square;
        cosine = Fma(cosine, square, -(square * 0.5f)) + 1f;

        float sine = -1.9515295891e-4f;
        sine = Fma(sine, square, 8.3321608736e-3f);
        sine = Fma(sine, square, -1.6666654611e-1f);
        sine = Fma(sine * square, r, r);

        bool swapped = (octant & 2) != 0;
        float sin = swapped ? cosine : sine;
        float cos = swapped ? sine : cosine;
        return ((octant & 4) != 0 ? -sin : sin, ((octant - 2) & 4) == 0 ? -cos : cos);
    }

    private static float Fma(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);
}
