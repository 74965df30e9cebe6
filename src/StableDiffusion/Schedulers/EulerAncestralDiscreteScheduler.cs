namespace StableDiffusion.Schedulers;

/// <summary>
/// Ancestral sampling with Euler steps (k-diffusion's "Euler a"): every step goes below the next noise level and adds fresh noise.
/// Mirrors diffusers' <c>EulerAncestralDiscreteScheduler</c>.
/// </summary>
public sealed record EulerAncestralDiscreteScheduler : BetaScheduler
{
    /// <summary>Rescale the betas so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    internal override string? Problem() => base.Problem()
        ?? (PredictionType == PredictionType.Sample ? "prediction_type is sample; it must be epsilon or v_prediction." : null);

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprodForSigmas(RescaleBetasZeroSnr);
        float[] timesteps = TimestepTable.Fractional(this, steps);
        float[] sigmas = SigmaTable.ToSingle(SigmaTable.Interpolate(timesteps, NoiseTable.Sigmas(alphas)).Append(0));
        return new Run(PredictionType, new RunTables
        {
            Timesteps = timesteps,
            Sigmas = sigmas,
            AlphasCumprod = alphas,
            InitNoiseSigma = SigmaRun.InitialSigma(sigmas, TimestepSpacing),
            FirstCall = start.FirstCall,
        });
    }

    sealed class Run(PredictionType prediction, RunTables tables) : SigmaRun(tables)
    {
        static readonly Register Original = Register.Slot(0);

        public override StepProgram Step(int call)
        {
            double from = Sigmas[call], to = Sigmas[call + 1];
            double up = Math.Sqrt(to * to * (from * from - to * to) / (from * from));
            double down = Math.Sqrt(to * to - up * up);
            Prediction original = Prediction.OriginalUnscaled(prediction, from);
            return new StepProgramBuilder()
                .Combine(Original, original.Terms())
                .Combine(Register.Sample, [new Term(Register.Sample, 1), .. original.Derivative(from).Terms(down - from), new Term(Register.Noise, up)])
                .Build(Original, drawsNoise: true);
        }
    }
}
