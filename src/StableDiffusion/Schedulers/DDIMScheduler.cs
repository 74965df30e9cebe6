namespace StableDiffusion.Schedulers;

/// <summary>Denoising diffusion implicit models, arXiv:2010.02502. Mirrors diffusers' <c>DDIMScheduler</c>.</summary>
public sealed record DDIMScheduler : BetaScheduler
{
    /// <summary>Leading spacing, as the class has by default.</summary>
    public DDIMScheduler() => TimestepSpacing = TimestepSpacing.Leading;

    /// <summary>Clip the predicted noise-free sample. diffusers: <c>clip_sample</c>.</summary>
    public bool ClipSample { get; init; } = true;

    /// <summary>Largest magnitude it is clipped to. diffusers: <c>clip_sample_range</c>.</summary>
    public double ClipSampleRange { get; init; } = 1;

    /// <summary>The last step goes to a sample without noise, not to the one of timestep 0. diffusers: <c>set_alpha_to_one</c>.</summary>
    public bool SetAlphaToOne { get; init; } = true;

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

    private protected override SchedulerRun Start(int steps, SchedulerStart start) => new Run(this, steps, start);

    sealed class Run(DDIMScheduler config, int steps, SchedulerStart start)
        : AlphaRun(Tables(TimestepTable.Whole(config, steps), config.AlphasCumprod(config.RescaleBetasZeroSnr), config.PredictionType, start))
    {
        static readonly Register Original = Register.Slot(0);

        readonly double eta = start.Eta ?? 0;

        public override StepProgram Step(int call)
        {
            int timestep = TimestepAt(call), previous = timestep - config.NumTrainTimesteps / steps;
            float alpha = Alpha(timestep);
            float alphaPrevious = previous >= 0 ? Alpha(previous) : config.SetAlphaToOne ? 1 : Alpha(0);
            float variance = (1 - alphaPrevious) / (1 - alpha) * (1 - alpha / alphaPrevious);
            double deviation = eta * Math.Sqrt(Math.Max(variance, 0));
            double direction = Math.Sqrt(Math.Max(1 - alphaPrevious - deviation * deviation, 0));
            double signal = Math.Sqrt(alpha), noise = Math.Sqrt(1 - alpha);
            Prediction epsilon = Prediction.Noise(config.PredictionType, signal, noise);
            Term[] ofNoise = start.UseClippedModelOutput
                ? [new Term(Register.Sample, direction / noise), new Term(Original, -direction * signal / noise)]
                : epsilon.Terms(direction);
            return new StepProgramBuilder()
                .Combine(Original, Prediction.Original(config.PredictionType, signal, noise).Terms())
                .Add(SampleLimit.For(
                    Original, config.Thresholding, config.DynamicThresholdingRatio, config.SampleMaxValue, config.ClipSample, config.ClipSampleRange))
                .Combine(Register.Sample, [.. ofNoise, new Term(Original, Math.Sqrt(alphaPrevious)), .. Noise(deviation)])
                .Build(Original, drawsNoise: eta > 0);
        }

        Term[] Noise(double deviation) => eta > 0 ? [new Term(Register.Noise, deviation)] : [];
    }
}
