namespace StableDiffusion.Schedulers;

/// <summary>
/// Euler's method on noise levels, algorithm 2 of arXiv:2206.00364 (k-diffusion's Euler sampler); churn noise as asked for by
/// <see cref="SchedulerStart"/>. Mirrors diffusers' <c>EulerDiscreteScheduler</c>.
/// </summary>
public sealed record EulerDiscreteScheduler : SigmaScheduler
{
    /// <summary>How timesteps become noise levels. diffusers: <c>interpolation_type</c>.</summary>
    public InterpolationType InterpolationType { get; init; }

    /// <summary>Smallest noise level of a respacing; null for the schedule's own. diffusers: <c>sigma_min</c>.</summary>
    public double? SigmaMin { get; init; }

    /// <summary>Largest noise level of a respacing; null for the schedule's own. diffusers: <c>sigma_max</c>.</summary>
    public double? SigmaMax { get; init; }

    /// <summary>What the model gets as time. diffusers: <c>timestep_type</c>.</summary>
    public TimestepType TimestepType { get; init; }

    /// <summary>Rescale the betas so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    /// <summary>The noise level after the last step. diffusers: <c>final_sigmas_type</c>.</summary>
    public FinalSigmasType FinalSigmasType { get; init; }

    bool IsContinuous => TimestepType == TimestepType.Continuous && PredictionType == PredictionType.VPrediction;

    private protected override bool TakesTimesteps => !IsRespaced && !IsContinuous;

    private protected override bool TakesSigmas => true;

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprodForSigmas(RescaleBetasZeroSnr);
        (float[] timesteps, float[] sigmas) = Layout(steps, start, NoiseTable.Sigmas(alphas));
        return new Run(PredictionType, start, new RunTables
        {
            Timesteps = IsContinuous ? Array.ConvertAll(sigmas[..^1], sigma => 0.25f * (float)Math.Log(sigma)) : timesteps,
            Sigmas = sigmas,
            AlphasCumprod = alphas,
            InitNoiseSigma = SigmaRun.InitialSigma(sigmas, TimestepSpacing),
            FirstCall = start.FirstCall,
        });
    }

    (float[] Timesteps, float[] Sigmas) Layout(int steps, SchedulerStart start, float[] training)
    {
        if (start.Sigmas is { } given)
        {
            float[] levels = SigmaTable.ToSingle(given);
            return (SigmaTable.ToSingle(SigmaTable.ToTimesteps(levels[..^1].Select(sigma => (double)sigma), training)), levels);
        }
        float[] timesteps = start.Timesteps is { } chosen ? SigmaTable.ToSingle(chosen) : TimestepTable.Fractional(this, steps);
        double[] sigmas = InterpolationType == InterpolationType.Linear
            ? SigmaTable.Interpolate(timesteps, training)
            : EvenlyInLogarithm(SigmaTable.Logs(training), steps + 1);
        if (Respaced(SigmaMax ?? sigmas[0], SigmaMin ?? sigmas[^1], steps) is { } respaced)
        {
            sigmas = respaced;
            timesteps = SigmaTable.ToSingle(SigmaTable.ToTimesteps(sigmas, training));
        }
        return (timesteps, SigmaTable.ToSingle(sigmas.Append(FinalSigmasType == FinalSigmasType.SigmaMin ? training[0] : 0)));
    }

    static double[] EvenlyInLogarithm(float[] logs, int count) =>
        Array.ConvertAll(NoiseTable.Linspace(logs[^1], logs[0], count), log => (double)(float)Math.Exp(log));

    sealed class Run(PredictionType prediction, SchedulerStart start, RunTables tables) : SigmaRun(tables)
    {
        static readonly Register Original = Register.Slot(0);

        public override StepProgram Step(int call)
        {
            double sigma = Sigmas[call];
            (double raised, bool draws, StepProgramBuilder program) = Churn(call, start);
            // A model that predicts v is read at the unraised noise level, as in diffusers.
            Prediction original = Prediction.OriginalUnscaled(prediction, prediction == PredictionType.VPrediction ? sigma : raised);
            return program
                .Combine(Original, original.Terms())
                .Combine(Register.Sample, [new Term(Register.Sample, 1), .. original.Derivative(raised).Terms(Sigmas[call + 1] - raised)])
                .Build(Original, draws);
        }
    }
}
