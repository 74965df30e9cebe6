namespace StableDiffusion.Schedulers;

/// <summary>
/// Multistep sampling of latent consistency models, arXiv:2310.04378: predict the noise-free sample, add fresh noise, repeat. Mirrors
/// diffusers' <c>LCMScheduler</c>.
/// </summary>
public sealed record LCMScheduler : ConsistencyScheduler
{
    /// <summary>The noise level the boundary condition's deviation is measured in.</summary>
    const double SigmaData = 0.5;

    /// <summary>Factor of the timestep in the boundary condition. diffusers: <c>timestep_scaling</c>.</summary>
    public double TimestepScaling { get; init; } = 10;

    /// <summary>Clip the predicted noise-free sample. diffusers: <c>clip_sample</c>.</summary>
    public bool ClipSample { get; init; }

    /// <summary>Largest magnitude it is clipped to. diffusers: <c>clip_sample_range</c>.</summary>
    public double ClipSampleRange { get; init; } = 1;

    /// <summary>Dynamic thresholding instead of clipping. diffusers: <c>thresholding</c>.</summary>
    public bool Thresholding { get; init; }

    /// <summary>Quantile the threshold is taken at. diffusers: <c>dynamic_thresholding_ratio</c>.</summary>
    public double DynamicThresholdingRatio { get; init; } = 0.995;

    /// <summary>Largest threshold. diffusers: <c>sample_max_value</c>.</summary>
    public double SampleMaxValue { get; init; } = 1;

    /// <inheritdoc/>
    public override Scheduler WithLegacyConfigFixes() => this with { StepsOffset = 1, ClipSample = false };

    private protected override SchedulerRun Start(int steps, SchedulerStart start) => new Run(this, Visited(steps, start), start);

    sealed class Run(LCMScheduler config, int[] timesteps, SchedulerStart start)
        : AlphaRun(Tables(timesteps, config.AlphasCumprod(config.RescaleBetasZeroSnr), config.PredictionType, start))
    {
        static readonly Register Original = Register.Slot(0);
        static readonly Register Denoised = Register.Slot(1);

        public override StepProgram Step(int call)
        {
            int timestep = TimestepAt(call);
            double alpha = Alpha(timestep), scaled = timestep * config.TimestepScaling;
            double norm = scaled * scaled + SigmaData * SigmaData;
            double ofSample = SigmaData * SigmaData / norm, ofOriginal = scaled / Math.Sqrt(norm);
            var program = new StepProgramBuilder()
                .Combine(Original, Prediction.Original(config.PredictionType, Math.Sqrt(alpha), Math.Sqrt(1 - alpha)).Terms())
                .Add(SampleLimit.For(
                    Original, config.Thresholding, config.DynamicThresholdingRatio, config.SampleMaxValue, config.ClipSample, config.ClipSampleRange))
                .Combine(Denoised, new Term(Original, ofOriginal), new Term(Register.Sample, ofSample));
            if (call == Timesteps.Count - 1)
            {
                return program.Copy(Register.Sample, Denoised).Build(Denoised);
            }
            double alphaNext = Alpha(TimestepAt(call + 1));
            return program
                .Combine(Register.Sample, new Term(Denoised, Math.Sqrt(alphaNext)), new Term(Register.Noise, Math.Sqrt(1 - alphaNext)))
                .Build(Denoised, drawsNoise: true);
        }
    }
}
