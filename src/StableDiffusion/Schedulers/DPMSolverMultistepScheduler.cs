namespace StableDiffusion.Schedulers;

/// <summary>
/// Multistep DPM-Solver and DPM-Solver++ and their stochastic forms ("DPM++ 2M", "DPM++ 2M SDE"). Mirrors diffusers'
/// <c>DPMSolverMultistepScheduler</c>.
/// </summary>
public sealed record DPMSolverMultistepScheduler : DpmSolverScheduler
{
    /// <summary>Lower orders in the last steps of a run of less than 15. diffusers: <c>lower_order_final</c>.</summary>
    public bool LowerOrderFinal { get; init; } = true;

    /// <summary>First order in the last step. diffusers: <c>euler_at_final</c>.</summary>
    public bool EulerAtFinal { get; init; }

    /// <summary>Noise levels evenly in the logarithm from end to end of training (Lu et al.). diffusers: <c>use_lu_lambdas</c>.</summary>
    public bool UseLuLambdas { get; init; }

    /// <summary>Rescale the betas so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    private protected override bool TakesTimesteps => !IsRespaced && !UseLuLambdas;

    internal override string? Problem() => base.Problem()
        ?? (Algorithm == AlgorithmType.SdeDpmSolver && SolverOrder == 3 ? "solver_order 3 does not exist for algorithm_type sde-dpmsolver; use 1 or 2." : null);

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprodForSigmas(RescaleBetasZeroSnr);
        float[] training = NoiseTable.Sigmas(alphas);
        int[] timesteps = start.Timesteps is { } chosen
            ? [.. chosen.Select(t => (int)t)]
            : TimestepTable.WholeWithEnd(this, NumTrainTimesteps - ClippedTimesteps(alphas), steps);
        bool rounded = BetaSchedule != BetaSchedule.SquaredCosCapV2;
        (timesteps, double[] sigmas) = UseLuLambdas && !UseKarrasSigmas
            ? WholeLevels(LuLevels(SigmaTable.Logs(training), steps), training, rounded)
            : WholeLevels(timesteps, training, steps, rounded);
        return new Run(this, new RunTables
        {
            Timesteps = Array.ConvertAll(timesteps, t => (float)t),
            Sigmas = SigmaTable.ToSingle(sigmas.Append(FinalSigmasType == FinalSigmasType.SigmaMin ? training[0] : 0)),
            AlphasCumprod = alphas,
            FirstCall = start.FirstCall,
        });
    }

    static double[] LuLevels(float[] logs, int steps) => Array.ConvertAll(TimestepTable.Linspace(logs[^1], logs[0], steps), Math.Exp);

    sealed class Run(DPMSolverMultistepScheduler config, RunTables tables) : ScaledSigmaRun(tables)
    {
        /// <summary>The converted outputs lie in the first slots in turn; the one after them is scratch.</summary>
        Register Converted(int number) => Register.Slot(number % config.SolverOrder);

        public override StepProgram Step(int call)
        {
            int count = call - FirstCall, order = OrderOf(call);
            var program = new StepProgramBuilder();
            Register original = config.Convert(program, Converted(count), Register.Slot(config.SolverOrder), Level(call));

            // The third order always takes both differences; the second weighs the first as the midpoint rule or Heun's does.
            bool midpoint = order < 3 && config.SolverType != SolverType.Heun;
            var weights = DpmSolverWeights.For(config.Algorithm, midpoint, Level(call), Level(call + 1));
            List<Term> terms = [new Term(Register.Sample, weights.Sample), .. Differences(call, count, order, weights)];
            if (config.IsStochastic)
            {
                terms.Add(new Term(Register.Noise, weights.Noise));
            }
            return program.Combine(Register.Sample, [.. terms]).Build(original, config.IsStochastic);
        }

        int OrderOf(int call)
        {
            int left = Timesteps.Count - call;
            bool few = config.LowerOrderFinal && Timesteps.Count < 15;
            if (left == 1 && (config.EulerAtFinal || few || config.FinalSigmasType == FinalSigmasType.Zero))
            {
                return 1;
            }
            int order = Math.Min(config.SolverOrder, call - FirstCall + 1);
            return left == 2 && few ? Math.Min(order, 2) : order;
        }

        /// <summary>d0, d1 and d2 written out over the converted outputs, newest first.</summary>
        Term[] Differences(int call, int count, int order, DpmSolverWeights weights)
        {
            Register m0 = Converted(count);
            if (order == 1)
            {
                return [new Term(m0, weights.D0)];
            }
            double h = Level(call + 1).Lambda - Level(call).Lambda;
            double r0 = (Level(call).Lambda - Level(call - 1).Lambda) / h;
            Register m1 = Converted(count - 1);
            if (order == 2)
            {
                return [new Term(m0, weights.D0 + weights.D1 / r0), new Term(m1, -weights.D1 / r0)];
            }
            double r1 = (Level(call - 1).Lambda - Level(call - 2).Lambda) / h;
            // First differences f0 = (m0 - m1) / r0 and f1 = (m1 - m2) / r1; d1 = f0 + r0 / (r0 + r1) (f0 - f1), d2 = (f0 - f1) / (r0 + r1).
            double curved = (weights.D1 * r0 + weights.D2) / (r0 + r1);
            double ofF0 = weights.D1 + curved, ofF1 = -curved;
            return
            [
                new Term(m0, weights.D0 + ofF0 / r0),
                new Term(m1, ofF1 / r1 - ofF0 / r0),
                new Term(Converted(count - 2), -ofF1 / r1),
            ];
        }
    }
}
