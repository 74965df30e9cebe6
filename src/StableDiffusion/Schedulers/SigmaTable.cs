namespace StableDiffusion.Schedulers;

/// <summary>
/// Noise levels of a schedule from those of training, in NumPy's float64, and the way back from a noise level to a timestep.
/// </summary>
static class SigmaTable
{
    /// <summary>Training noise levels at fractional timesteps, linear between neighbours (numpy.interp).</summary>
    public static double[] Interpolate(IEnumerable<float> timesteps, float[] trainingSigmas) => [.. timesteps.Select(t => At(t, trainingSigmas))];

    /// <summary>Karras et al., arXiv:2206.00364, equation 5, with rho 7. Descending.</summary>
    public static double[] Karras(double largest, double smallest, int count, double rho = 7)
    {
        double from = Math.Pow(largest, 1 / rho), to = Math.Pow(smallest, 1 / rho);
        return Array.ConvertAll(TimestepTable.Linspace(0, 1, count), ramp => Math.Pow(from + ramp * (to - from), rho));
    }

    /// <summary>Evenly in the logarithm. Descending.</summary>
    public static double[] Exponential(double largest, double smallest, int count) =>
        Array.ConvertAll(TimestepTable.Linspace(Math.Log(largest), Math.Log(smallest), count), Math.Exp);

    /// <summary>Quantiles of the beta distribution with both shapes 0.6, arXiv:2407.12173. Descending.</summary>
    public static double[] Beta(double largest, double smallest, int count) => Array.ConvertAll(
        TimestepTable.Linspace(0, 1, count), x => smallest + SymmetricBeta.Quantile(1 - x, 0.6) * (largest - smallest));

    /// <summary>Natural logarithms in float32.</summary>
    public static float[] Logs(float[] sigmas) => Array.ConvertAll(sigmas, sigma => (float)Math.Log(sigma));

    /// <summary>The fractional training timestep of a noise level, linear in the logarithm and kept within the table.</summary>
    /// <param name="sigma">The noise level.</param>
    /// <param name="logSigmas">Logarithms of the training noise levels, ascending.</param>
    public static double ToTimestep(double sigma, float[] logSigmas)
    {
        double log = Math.Log(Math.Max(sigma, 1e-10));
        int low = Math.Max(Array.FindLastIndex(logSigmas, entry => log >= entry), 0);
        low = Math.Min(low, logSigmas.Length - 2);
        double weight = Math.Clamp((logSigmas[low] - log) / (logSigmas[low] - logSigmas[low + 1]), 0, 1);
        return (1 - weight) * low + weight * (low + 1);
    }

    /// <summary>The fractional training timesteps of noise levels.</summary>
    /// <param name="sigmas">The noise levels.</param>
    /// <param name="training">The training noise levels, ascending.</param>
    public static IEnumerable<double> ToTimesteps(IEnumerable<double> sigmas, float[] training)
    {
        float[] logs = Logs(training);
        return sigmas.Select(sigma => ToTimestep(sigma, logs));
    }

    /// <summary>Rounds to float32.</summary>
    public static float[] ToSingle(IEnumerable<double> values) => [.. values.Select(value => (float)value)];

    static double At(double t, float[] table)
    {
        if (t <= 0)
        {
            return table[0];
        }
        if (t >= table.Length - 1)
        {
            return table[^1];
        }
        int below = (int)t;
        return ((double)table[below + 1] - table[below]) * (t - below) + table[below];
    }
}
