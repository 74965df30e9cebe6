namespace StableDiffusion.Schedulers;

/// <summary>A run on noise levels in which signal and noise keep unit variance together: x = alpha x0 + sigma_t noise.</summary>
abstract class ScaledSigmaRun(RunTables tables) : SchedulerRun(tables)
{
    /// <summary>The noise level at an index of <see cref="SchedulerRun.Sigmas"/>.</summary>
    protected NoiseLevel Level(int index) => new(Sigmas[index]);

    /// <inheritdoc/>
    public override (double Signal, double Noise) AddNoise(int call) => (Level(call).Alpha, Level(call).Sigma);
}

/// <summary>
/// A noise level where signal and noise keep unit variance: alpha^2 + sigma^2 = 1, their ratio <paramref name="Ratio"/> = sigma / alpha.
/// All in float32 as in diffusers: with many steps its rounding shows in the differences of neighbouring lambdas.
/// </summary>
readonly record struct NoiseLevel(float Ratio)
{
    public float Alpha => 1 / MathF.Sqrt(Ratio * Ratio + 1);

    public float Sigma => Ratio * Alpha;

    /// <summary>Half the logarithm of the signal-to-noise ratio: log(alpha / sigma).</summary>
    public float Lambda => (float)Math.Log(Alpha) - (float)Math.Log(Sigma);
}
