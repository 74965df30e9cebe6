namespace StableDiffusion.Schedulers;

/// <summary>How much noise a DDPM step adds. diffusers: <c>variance_type</c>.</summary>
public enum VarianceType
{
    /// <summary>The variance of the posterior.</summary>
    FixedSmall,

    /// <summary>The same, computed by way of its logarithm.</summary>
    FixedSmallLog,

    /// <summary>The beta of the step.</summary>
    FixedLarge,

    /// <summary>Not supported: undefined in diffusers as well.</summary>
    FixedLargeLog,

    /// <summary>Not supported: predicted by the model.</summary>
    Learned,

    /// <summary>Not supported: predicted by the model.</summary>
    LearnedRange,
}

/// <summary>Ancestral sampling of denoising diffusion probabilistic models, arXiv:2006.11239. Mirrors diffusers' <c>DDPMScheduler</c>.</summary>
public sealed record DDPMScheduler : BetaScheduler
{
    /// <summary>Leading spacing, as the class has by default.</summary>
    public DDPMScheduler() => TimestepSpacing = TimestepSpacing.Leading;

    /// <summary>How much noise a step adds. diffusers: <c>variance_type</c>.</summary>
    public VarianceType VarianceType { get; init; }

    /// <summary>Clip the predicted noise-free sample. diffusers: <c>clip_sample</c>.</summary>
    public bool ClipSample { get; init; } = true;

    /// <summary>Largest magnitude it is clipped to. diffusers: <c>clip_sample_range</c>.</summary>
    public double ClipSampleRange { get; init; } = 1;

    /// <summary>Dynamic thresholding instead of clipping. diffusers: <c>thresholding</c>.</summary>
    public bool Thresholding { get; init; }

    /// <summary>Quantile the threshold is taken at. diffusers: <c>dynamic_thresholding_ratio</c>.</summary>
    public double DynamicThresholdingRatio { get; init; } = 0.995;

    /// <summary>Largest threshold. diffusers: <c>sample_max_value</c>.</summary>
    public double SampleMaxValue { get; init; } = 1;

    /// <summary>Rescale the betas so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    /// <inheritdoc/>
    public override Scheduler WithLegacyConfigFixes() => this with { StepsOffset = 1, ClipSample = false };

    private protected override bool TakesTimesteps => true;

    internal override string? Problem() => base.Problem()
        ?? (VarianceType is VarianceType.FixedLargeLog or VarianceType.Learned or VarianceType.LearnedRange
            ? "variance_type must be fixed_small, fixed_small_log or fixed_large; a model that predicts its variance is not supported."
            : null);

    private protected override SchedulerRun Start(int steps, SchedulerStart start) => new Run(
        this, start.Timesteps is { } chosen ? [.. chosen.Select(t => (int)t)] : TimestepTable.Whole(this, steps), start);

    sealed class Run(DDPMScheduler config, int[] timesteps, SchedulerStart start)
        : AlphaRun(Tables(timesteps, config.AlphasCumprod(config.RescaleBetasZeroSnr), config.PredictionType, start))
    {
        static readonly Register Original = Register.Slot(0);

        public override StepProgram Step(int call)
        {
            int timestep = TimestepAt(call);
            float alpha = Alpha(timestep), alphaPrevious = call + 1 < Timesteps.Count ? Alpha(TimestepAt(call + 1)) : 1;
            // In float32 as in diffusers: with many steps the rounding of 1 - stepAlpha shows.
            float stepAlpha = alpha / alphaPrevious, stepBeta = 1 - stepAlpha;
            double ofOriginal = Math.Sqrt(alphaPrevious) * stepBeta / (1 - alpha);
            double ofSample = Math.Sqrt(stepAlpha) * (1 - alphaPrevious) / (1 - alpha);
            double variance = config.VarianceType == VarianceType.FixedLarge
                ? stepBeta
                : Math.Max((1 - alphaPrevious) / (1 - alpha) * stepBeta, 1e-20);
            bool draws = timestep > 0;
            Term[] noise = draws ? [new Term(Register.Noise, Math.Sqrt(variance))] : [];
            return new StepProgramBuilder()
                .Combine(Original, Prediction.Original(config.PredictionType, Math.Sqrt(alpha), Math.Sqrt(1 - alpha)).Terms())
                .Add(SampleLimit.For(
                    Original, config.Thresholding, config.DynamicThresholdingRatio, config.SampleMaxValue, config.ClipSample, config.ClipSampleRange))
                .Combine(Register.Sample, [new Term(Original, ofOriginal), new Term(Register.Sample, ofSample), .. noise])
                .Build(Original, draws);
        }
    }
}
