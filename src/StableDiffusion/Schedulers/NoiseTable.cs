namespace StableDiffusion.Schedulers;

/// <summary>
/// The training schedule: betas and the tables that follow from them, each in the dtype and order of operations PyTorch uses, so
/// that a seed gives the same picture. diffusers: <c>betas</c>, <c>alphas_cumprod</c>, <c>sigmas</c>.
/// </summary>
static class NoiseTable
{
    /// <summary>Betas in float32, one per training timestep.</summary>
    public static float[] Betas(BetaScheduler config)
    {
        int count = config.NumTrainTimesteps;
        return config.BetaSchedule switch
        {
            _ when config.TrainedBetas is { } trained => [.. trained],
            BetaSchedule.Linear => Linspace((float)config.BetaStart, (float)config.BetaEnd, count),
            BetaSchedule.ScaledLinear => Array.ConvertAll(
                Linspace((float)Math.Sqrt(config.BetaStart), (float)Math.Sqrt(config.BetaEnd), count), root => root * root),
            BetaSchedule.Sigmoid => Array.ConvertAll(
                Linspace(-6, 6, count), x => (float)(1 / (1 + Math.Exp(-x))) * (float)(config.BetaEnd - config.BetaStart) + (float)config.BetaStart),
            BetaSchedule.SquaredCosCapV2 => BetasForAlphaBar(count, t => Square(Math.Cos((t + 0.008) / 1.008 * Math.PI / 2))),
            BetaSchedule.Laplace => BetasForAlphaBar(count, LaplaceAlphaBar),
            BetaSchedule.Exp => BetasForAlphaBar(count, t => Math.Exp(t * -12)),
            _ => throw new ArgumentException($"The beta schedule {config.BetaSchedule} is unknown."),
        };
    }

    /// <summary>Running product of 1 - beta: float32 values of a float64 product, as torch.cumprod on the CPU.</summary>
    public static float[] AlphasCumprod(float[] betas)
    {
        double product = 1;
        return Array.ConvertAll(betas, beta => (float)(product *= 1 - beta));
    }

    /// <summary>Shifts and scales the schedule so that the last timestep has no signal at all, algorithm 1 of arXiv:2305.08891.</summary>
    public static float[] RescaleZeroTerminalSnr(float[] betas)
    {
        float[] roots = Array.ConvertAll(AlphasCumprod(betas), MathF.Sqrt);
        float first = roots[0], last = roots[^1];
        float scale = first / (first - last);
        float[] alphaBars = Array.ConvertAll(roots, root => Square((root - last) * scale));
        var rescaled = new float[betas.Length];
        rescaled[0] = 1 - alphaBars[0];
        for (int t = 1; t < rescaled.Length; t++)
        {
            rescaled[t] = 1 - alphaBars[t] / alphaBars[t - 1];
        }
        return rescaled;
    }

    /// <summary>sqrt((1 - a) / a): the noise level where the signal has the weight 1, ascending.</summary>
    public static float[] Sigmas(float[] alphasCumprod) => Array.ConvertAll(alphasCumprod, alpha => MathF.Sqrt((1 - alpha) / alpha));

    /// <summary>torch.linspace in float32: from the near end, with a fused multiply-add.</summary>
    public static float[] Linspace(float start, float end, int count)
    {
        float step = (end - start) / (count - 1);
        var values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = i < count / 2 ? MathF.FusedMultiplyAdd(step, i, start) : MathF.FusedMultiplyAdd(-step, count - 1 - i, end);
        }
        return values;
    }

    static float[] BetasForAlphaBar(int count, Func<double, double> alphaBar)
    {
        const double maxBeta = 0.999;
        var betas = new float[count];
        for (int i = 0; i < count; i++)
        {
            betas[i] = (float)Math.Min(1 - alphaBar((i + 1) / (double)count) / alphaBar(i / (double)count), maxBeta);
        }
        return betas;
    }

    static double LaplaceAlphaBar(double t)
    {
        double logSnr = -0.5 * Math.CopySign(1, 0.5 - t) * Math.Log(1 - 2 * Math.Abs(0.5 - t) + 1e-6);
        double snr = Math.Exp(logSnr);
        return Math.Sqrt(snr / (1 + snr));
    }

    static double Square(double x) => x * x;

    static float Square(float x) => x * x;
}
