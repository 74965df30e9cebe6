namespace StableDiffusion.Schedulers;

/// <summary>
/// Heun's method on noise levels, algorithm 2 of arXiv:2206.00364 without churn: two model calls per step, but one for the last. Mirrors
/// diffusers' <c>HeunDiscreteScheduler</c>.
/// </summary>
public sealed record HeunDiscreteScheduler : SigmaScheduler
{
    /// <summary>The betas of Stable Diffusion's range, as the class has by default.</summary>
    public HeunDiscreteScheduler() => (BetaStart, BetaEnd) = (0.00085, 0.012);

    /// <inheritdoc/>
    public override int Order => 2;

    /// <summary>Clip the predicted noise-free sample. diffusers: <c>clip_sample</c>.</summary>
    public bool ClipSample { get; init; }

    /// <summary>Largest magnitude it is clipped to. diffusers: <c>clip_sample_range</c>.</summary>
    public double ClipSampleRange { get; init; } = 1;

    /// <inheritdoc/>
    public override Scheduler WithLegacyConfigFixes() => this with { StepsOffset = 1, ClipSample = false };

    private protected override bool TakesTimesteps => !IsRespaced;

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprod();
        float[] spaced = start.Timesteps is { } chosen ? SigmaTable.ToSingle(chosen) : TimestepTable.Fractional(this, steps);
        (float[] timesteps, double[] levels) = Levels(spaced, NoiseTable.Sigmas(alphas));
        float[] sigmas = SigmaTable.ToSingle(levels);
        return new Run(this, new RunTables
        {
            Timesteps = [timesteps[0], .. timesteps[1..].SelectMany(t => new[] { t, t })],
            Sigmas = [sigmas[0], .. sigmas[1..].SelectMany(sigma => new[] { sigma, sigma }), 0],
            AlphasCumprod = alphas,
            InitNoiseSigma = SigmaRun.InitialSigma(sigmas, TimestepSpacing),
            FirstCall = start.FirstCall,
        });
    }

    sealed class Run(HeunDiscreteScheduler config, RunTables tables) : SigmaRun(tables)
    {
        static readonly Register Original = Register.Slot(0);
        static readonly Register StepStart = Register.Slot(1);
        static readonly Register FirstSlope = Register.Slot(2);

        public override StepProgram Step(int call)
        {
            bool first = (call - FirstCall) % 2 == 0;
            int from = first ? call : call - 1;
            // Both calls see the sample at the level of their own index.
            double sigma = Sigmas[call], length = (double)Sigmas[from + 1] - Sigmas[from];
            Prediction original = Prediction.OriginalUnscaled(config.PredictionType, sigma);
            Term[] slope = config.ClipSample
                ? [new Term(Register.Sample, 1 / sigma), new Term(Original, -1 / sigma)]
                : original.Derivative(sigma).Terms();
            var program = new StepProgramBuilder()
                .Combine(Original, original.Terms())
                .Add(SampleLimit.For(Original, thresholding: false, 0, 0, config.ClipSample, config.ClipSampleRange));
            if (first)
            {
                program.Copy(StepStart, Register.Sample)
                    .Combine(FirstSlope, slope)
                    .Combine(Register.Sample, new Term(Register.Sample, 1), new Term(FirstSlope, length));
            }
            else
            {
                program.Combine(
                    Register.Sample,
                    [new Term(StepStart, 1), new Term(FirstSlope, length / 2), .. slope.Select(term => term with { Coefficient = term.Coefficient * length / 2 })]);
            }
            return program.Build(Original);
        }
    }
}
