namespace StableDiffusion.Schedulers;

/// <summary>
/// Schedules of ten steps found by optimisation, arXiv:2404.14507, for <see cref="SchedulerStart.Timesteps"/> or
/// <see cref="SchedulerStart.Sigmas"/>. diffusers: <c>AysSchedules</c>.
/// </summary>
public static class AlignYourSteps
{
    /// <summary>Timesteps for Stable Diffusion 1.x.</summary>
    public static IReadOnlyList<double> StableDiffusionTimesteps { get; } = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24];

    /// <summary>Noise levels for Stable Diffusion 1.x, the final 0 included.</summary>
    public static IReadOnlyList<double> StableDiffusionSigmas { get; } =
        [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0];

    /// <summary>Timesteps for Stable Diffusion XL.</summary>
    public static IReadOnlyList<double> StableDiffusionXLTimesteps { get; } = [999, 845, 730, 587, 443, 310, 193, 116, 53, 13];

    /// <summary>Noise levels for Stable Diffusion XL, the final 0 included.</summary>
    public static IReadOnlyList<double> StableDiffusionXLSigmas { get; } =
        [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0];

    /// <summary>Steps that <see cref="Timesteps"/> can lay out without visiting a timestep twice.</summary>
    public const int MaxSteps = 50;

    // The noise level at which the schedules of the paper end: that of timestep 0.
    private const double SmallestSigma = 0.029;

    /// <summary>
    /// Timesteps for any number of steps: for ten the table itself, else those of <see cref="Sigmas"/>, rounded to whole ones, in the noise schedule that
    /// the Stable Diffusion models have in common.
    /// </summary>
    /// <param name="steps">1 to <see cref="MaxSteps"/>.</param>
    /// <param name="xl">True for Stable Diffusion XL.</param>
    /// <exception cref="ArgumentException">Too few or too many steps.</exception>
    public static IReadOnlyList<double> Timesteps(int steps, bool xl)
    {
        IReadOnlyList<double> ten = xl ? StableDiffusionXLTimesteps : StableDiffusionTimesteps;
        if (steps == ten.Count)
        {
            return ten;
        }
        var model = new DDIMScheduler { BetaStart = 0.00085, BetaEnd = 0.012, BetaSchedule = BetaSchedule.ScaledLinear };
        float[] training = NoiseTable.Sigmas(NoiseTable.AlphasCumprod(NoiseTable.Betas(model)));
        return [.. SigmaTable.ToTimesteps(Sigmas(steps, xl).SkipLast(1), training).Select(timestep => Math.Round(timestep))];
    }

    /// <summary>
    /// Noise levels for any number of steps, the final 0 included: for ten the table itself, else evenly spaced points of the line through its logarithms,
    /// as the paper's authors publish it (research.nvidia.com/labs/toronto-ai/AlignYourSteps).
    /// </summary>
    /// <param name="steps">1 to <see cref="MaxSteps"/>.</param>
    /// <param name="xl">True for Stable Diffusion XL.</param>
    /// <exception cref="ArgumentException">Too few or too many steps.</exception>
    public static IReadOnlyList<double> Sigmas(int steps, bool xl)
    {
        if (steps is < 1 or > MaxSteps)
        {
            throw new ArgumentException($"Align Your Steps takes 1 to {MaxSteps} steps, not {steps}.");
        }
        IReadOnlyList<double> ten = xl ? StableDiffusionXLSigmas : StableDiffusionSigmas;
        if (steps == ten.Count - 1)
        {
            return ten;
        }
        double[] logs = [.. ten.SkipLast(1).Append(SmallestSigma).Select(sigma => Math.Log(sigma))];
        return [.. Enumerable.Range(0, steps).Select(i => Math.Exp(At(logs, (double)i * (logs.Length - 1) / steps))), 0];
    }

    private static double At(double[] values, double place)
    {
        int below = Math.Min((int)place, values.Length - 2);
        return values[below] + ((place - below) * (values[below + 1] - values[below]));
    }
}
