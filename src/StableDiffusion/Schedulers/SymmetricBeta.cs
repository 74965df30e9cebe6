namespace StableDiffusion.Schedulers;

/// <summary>The beta distribution with two equal shape parameters.</summary>
static class SymmetricBeta
{
    /// <summary>
    /// The value below which a variate lies with probability <paramref name="p"/>, to about 1e-14. The distribution function is a
    /// power series that converges fast up to 1/2, where it is 1/2 by symmetry; that gives its scale, and the upper half mirrors the
    /// lower. The root is found by Newton's method within shrinking bounds.
    /// </summary>
    /// <param name="p">Probability, 0 to 1.</param>
    /// <param name="shape">Both shape parameters, above 0.</param>
    public static double Quantile(double p, double shape)
    {
        if (p > 0.5)
        {
            return 1 - Quantile(1 - p, shape);
        }
        if (p <= 0)
        {
            return 0;
        }
        double target = 2 * p * Integral(0.5, shape);
        double low = 0, high = 0.5;
        double x = Math.Min(Math.Pow(target * shape, 1 / shape), high);
        for (int iteration = 0; iteration < 100; iteration++)
        {
            double excess = Integral(x, shape) - target;
            (low, high) = excess > 0 ? (low, x) : (x, high);
            double next = x - excess / (Math.Pow(x, shape - 1) * Math.Pow(1 - x, shape - 1));
            if (!(next >= low && next <= high))
            {
                next = (low + high) / 2;
            }
            if (Math.Abs(next - x) <= 1e-15 * x)
            {
                return next;
            }
            x = next;
        }
        return x;
    }

    /// <summary>Integral of t^(shape-1) (1-t)^(shape-1) from 0 to x, x at most 1/2, by the binomial series of the second factor.</summary>
    static double Integral(double x, double shape)
    {
        double sum = 0, term = 1;
        for (int n = 0; n < 80; n++)
        {
            sum += term / (shape + n);
            term *= (n + 1 - shape) / (n + 1) * x;
        }
        return Math.Pow(x, shape) * sum;
    }
}
