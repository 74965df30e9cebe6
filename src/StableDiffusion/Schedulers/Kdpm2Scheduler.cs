namespace StableDiffusion.Schedulers;

/// <summary>
/// What the two DPM-Solver-2 samplers of k-diffusion have in common: each step goes to a noise level in between, and from its start
/// along the slope found there to the next. arXiv:2206.00364, algorithm 2, and arXiv:2206.00927.
/// </summary>
public abstract record Kdpm2Scheduler : SigmaScheduler
{
    /// <summary>The betas of Stable Diffusion's range, as the classes have by default.</summary>
    protected Kdpm2Scheduler() => (BetaStart, BetaEnd) = (0.00085, 0.012);

    /// <inheritdoc/>
    public sealed override int Order => 2;

    internal override string? Problem() => base.Problem()
        ?? (PredictionType == PredictionType.Sample ? "prediction_type is sample; it must be epsilon or v_prediction." : null);

    /// <summary>One step between two noise levels, in float32 as the reference's tables.</summary>
    /// <param name="Between">The level of the second model call; 0 where the step has only one, the last.</param>
    /// <param name="Down">The level the second call goes to.</param>
    /// <param name="Up">The weight of fresh noise after it.</param>
    private protected readonly record struct Leg(float Between, float Down, float Up);

    /// <summary>The step from one noise level to the next; <paramref name="last"/> is the one to 0.</summary>
    private protected abstract Leg LegBetween(float from, float to, bool last);

    /// <summary>Whether each step ends with fresh noise.</summary>
    private protected abstract bool IsAncestral { get; }

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprod();
        float[] training = NoiseTable.Sigmas(alphas);
        (float[] timesteps, double[] levels) = Levels(TimestepTable.Fractional(this, steps), training, rounded: true);
        float[] sigmas = SigmaTable.ToSingle(levels.Append(0));
        Leg[] legs = [.. timesteps.Select((_, i) => LegBetween(sigmas[i], sigmas[i + 1], i == timesteps.Length - 1))];
        float[] between = SigmaTable.ToSingle(SigmaTable.ToTimesteps(legs.Select(leg => (double)leg.Between), training));
        return new Run(this, legs, new RunTables
        {
            Timesteps = [timesteps[0], .. timesteps[1..].SelectMany((t, i) => new[] { between[i], t })],
            Sigmas = [sigmas[0], .. sigmas[1..].SelectMany(sigma => new[] { sigma, sigma }), 0],
            AlphasCumprod = alphas,
            InitNoiseSigma = SigmaRun.InitialSigma(sigmas, TimestepSpacing),
            FirstCall = start.FirstCall,
        });
    }

    /// <summary>exp of the mean of the logarithms, in float32; 0 where one of the levels is.</summary>
    private protected static float GeometricMean(float a, float b)
    {
        float logA = (float)Math.Log(a), logB = (float)Math.Log(b);
        return a == 0 || b == 0 ? 0 : (float)Math.Exp(logB - (logB - logA) * 0.5f);
    }

    sealed class Run(Kdpm2Scheduler config, Leg[] legs, RunTables tables) : SigmaRun(tables)
    {
        static readonly Register Original = Register.Slot(0);
        static readonly Register StepStart = Register.Slot(1);

        /// <summary>The first calls come at even indices, the second at odd ones; a generation begins with a first one.</summary>
        bool IsFirst(int call) => (call - FirstCall) % 2 == 0;

        /// <summary>The noise level the model sees at a call.</summary>
        double Level(int call) => IsFirst(call) ? Sigmas[call] : legs[call / 2].Between;

        public override double InputScale(int call) => 1 / Math.Sqrt(Level(call) * Level(call) + 1);

        public override StepProgram Step(int call)
        {
            Leg leg = legs[call / 2];
            double from = Sigmas[IsFirst(call) ? call : call - 1], level = Level(call);
            Prediction original = Prediction.OriginalUnscaled(config.PredictionType, level);
            Prediction slope = original.Derivative(level);
            var program = new StepProgramBuilder().Combine(Original, original.Terms());
            if (IsFirst(call))
            {
                return program
                    .Copy(StepStart, Register.Sample)
                    .Combine(Register.Sample, [new Term(Register.Sample, 1), .. slope.Terms(leg.Between - from)])
                    .Build(Original);
            }
            Term[] noise = config.IsAncestral ? [new Term(Register.Noise, leg.Up)] : [];
            return program
                .Combine(Register.Sample, [new Term(StepStart, 1), .. slope.Terms(leg.Down - from), .. noise])
                .Build(Original, config.IsAncestral);
        }
    }
}
