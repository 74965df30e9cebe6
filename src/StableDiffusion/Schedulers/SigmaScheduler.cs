namespace StableDiffusion.Schedulers;

/// <summary>A scheduler that can respace its noise levels.</summary>
public abstract record SigmaScheduler : BetaScheduler
{
    /// <summary>Noise levels after Karras et al. diffusers: <c>use_karras_sigmas</c>.</summary>
    public bool UseKarrasSigmas { get; init; }

    /// <summary>Noise levels evenly in the logarithm. diffusers: <c>use_exponential_sigmas</c>.</summary>
    public bool UseExponentialSigmas { get; init; }

    /// <summary>Noise levels by the beta distribution. diffusers: <c>use_beta_sigmas</c>.</summary>
    public bool UseBetaSigmas { get; init; }

    internal override string? Problem() => base.Problem()
        ?? ((UseKarrasSigmas ? 1 : 0) + (UseExponentialSigmas ? 1 : 0) + (UseBetaSigmas ? 1 : 0) > 1
            ? "only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true."
            : null);

    private protected bool IsRespaced => UseKarrasSigmas || UseExponentialSigmas || UseBetaSigmas;

    /// <summary>The noise levels of the spacing that is on, descending; null when none is.</summary>
    private protected double[]? Respaced(double largest, double smallest, int steps) =>
        UseKarrasSigmas ? SigmaTable.Karras(largest, smallest, steps)
        : UseExponentialSigmas ? SigmaTable.Exponential(largest, smallest, steps)
        : UseBetaSigmas ? SigmaTable.Beta(largest, smallest, steps)
        : null;

    /// <summary>
    /// Noise levels at fractional timesteps; with a respacing, that between the first and the last of them and its own timesteps.
    /// </summary>
    /// <param name="timesteps">Timesteps of the spacing, descending.</param>
    /// <param name="training">Noise levels of training, ascending.</param>
    /// <param name="rounded">Round the timesteps of Karras' levels.</param>
    private protected (float[] Timesteps, double[] Sigmas) Levels(float[] timesteps, float[] training, bool rounded = false)
    {
        double[] sigmas = SigmaTable.Interpolate(timesteps, training);
        if (Respaced(sigmas[0], sigmas[^1], timesteps.Length) is not { } respaced)
        {
            return (timesteps, sigmas);
        }
        IEnumerable<double> times = SigmaTable.ToTimesteps(respaced, training);
        return (SigmaTable.ToSingle(rounded && UseKarrasSigmas ? times.Select(t => Math.Round(t, MidpointRounding.ToEven)) : times), respaced);
    }

    /// <summary>
    /// The same at whole timesteps, where a respacing goes over all of training. Its timesteps are rounded for Karras' levels and, as
    /// diffusers does, cut for the others.
    /// </summary>
    private protected (int[] Timesteps, double[] Sigmas) WholeLevels(int[] timesteps, float[] training, int steps, bool rounded = true) =>
        Respaced(training[^1], training[0], steps) is { } respaced
            ? WholeLevels(respaced, training, rounded && UseKarrasSigmas)
            : (timesteps, SigmaTable.Interpolate(timesteps.Select(t => (float)t), training));

    /// <summary>Given noise levels with their whole timesteps.</summary>
    private protected static (int[] Timesteps, double[] Sigmas) WholeLevels(double[] sigmas, float[] training, bool rounded)
    {
        IEnumerable<double> times = SigmaTable.ToTimesteps(sigmas, training);
        return (rounded ? TimestepTable.Rounded(times) : [.. times.Select(t => (int)t)], sigmas);
    }
}
