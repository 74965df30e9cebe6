namespace StableDiffusion.Schedulers;

/// <summary>
/// Singlestep DPM-Solver and DPM-Solver++: steps come in groups of orders 1, 2, (3), each going from the start of its group. Mirrors
/// diffusers' <c>DPMSolverSinglestepScheduler</c>, which always spaces its timesteps by linspace.
/// </summary>
public sealed record DPMSolverSinglestepScheduler : DpmSolverScheduler
{
    /// <summary>
    /// Lower orders at the end. diffusers: <c>lower_order_final</c>; taken as true, as there, where the steps are no multiple of the order
    /// or the last noise level is 0.
    /// </summary>
    public bool LowerOrderFinal { get; init; }

    private protected override bool TakesTimesteps => !IsRespaced;

    internal override string? Problem() => base.Problem()
        ?? (Algorithm == AlgorithmType.SdeDpmSolver ? "algorithm_type sde-dpmsolver does not exist for the singlestep solver; use sde-dpmsolver++." : null);

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprod();
        float[] training = NoiseTable.Sigmas(alphas);
        int[] spaced = start.Timesteps is { } chosen
            ? [.. chosen.Select(t => (int)t)]
            : TimestepTable.Rounded(TimestepTable.Linspace(0, NumTrainTimesteps - 1 - ClippedTimesteps(alphas), steps + 1).Reverse().Take(steps));
        (int[] timesteps, double[] sigmas) = WholeLevels(spaced, training, steps);
        return new Run(this, Orders(steps), new RunTables
        {
            Timesteps = Array.ConvertAll(timesteps, t => (float)t),
            Sigmas = SigmaTable.ToSingle(sigmas.Append(FinalSigmasType == FinalSigmasType.SigmaMin ? training[0] : 0)),
            AlphasCumprod = alphas,
            FirstCall = start.FirstCall,
        });
    }

    /// <summary>The order of each step: 1, 2, .., solver_order over and over, with lower ones at the end where that is asked for.</summary>
    int[] Orders(int steps)
    {
        int[] orders = [.. Enumerable.Range(0, steps).Select(step => step % SolverOrder + 1)];
        bool lowerFinal = LowerOrderFinal || steps % SolverOrder != 0 || FinalSigmasType == FinalSigmasType.Zero;
        if (lowerFinal && SolverOrder > 1 && orders[^1] == SolverOrder)
        {
            // A whole last group 1, 2, 3 becomes 1, 2, 1, and 1, 2 becomes 1, 1.
            orders[^1] = 1;
        }
        if (FinalSigmasType == FinalSigmasType.Zero)
        {
            orders[^1] = 1;
        }
        return orders;
    }

    sealed class Run(DPMSolverSinglestepScheduler config, int[] orders, RunTables tables) : ScaledSigmaRun(tables)
    {
        /// <summary>The converted outputs lie in the first slots in turn.</summary>
        Register Converted(int number) => Register.Slot(number % config.SolverOrder);

        public override StepProgram Step(int call)
        {
            int count = call - FirstCall;
            // After a start in the middle there may be fewer outputs than the order asks for.
            int order = Math.Min(orders[call], count + 1);
            Register groupStart = Register.Slot(config.SolverOrder), scratch = Register.Slot(config.SolverOrder + 1);
            var program = new StepProgramBuilder();
            Register original = config.Convert(program, Converted(count), scratch, Level(call));
            if (order == 1)
            {
                program.Copy(groupStart, Register.Sample);
            }
            int from = call - order + 1;
            bool midpoint = order == 2 && config.SolverType != SolverType.Heun;
            var weights = DpmSolverWeights.For(config.Algorithm, midpoint, Level(from), Level(call + 1));
            List<Term> terms = [new Term(groupStart, weights.Sample), .. Differences(from, count, order, weights)];
            if (config.IsStochastic)
            {
                terms.Add(new Term(Register.Noise, weights.Noise));
            }
            return program.Combine(Register.Sample, [.. terms]).Build(original, config.IsStochastic);
        }

        /// <summary>d0, d1 and d2 written out over the converted outputs of the group.</summary>
        Term[] Differences(int from, int count, int order, DpmSolverWeights weights)
        {
            double start = Level(from).Lambda, h = Level(from + order).Lambda - start;
            switch (order)
            {
                case 1:
                    return [new Term(Converted(count), weights.D0)];
                case 2:
                    double r = (Level(from + 1).Lambda - start) / h;
                    return [new Term(Converted(count - 1), weights.D0 - weights.D1 / r), new Term(Converted(count), weights.D1 / r)];
                default:
                    // f1 = (m1 - m0) / r1 and f0 = (m2 - m0) / r0, m0 the group's first output. The midpoint rule takes d1 = f0 and no d2;
                    // Heun's d1 = (r0 f1 - r1 f0) / (r0 - r1) and d2 = 2 (f0 - f1) / (r0 - r1).
                    double r1 = (Level(from + 1).Lambda - start) / h, r0 = (Level(from + 2).Lambda - start) / h;
                    bool heun = config.SolverType == SolverType.Heun;
                    double ofF1 = heun ? (weights.D1 * r0 - 2 * weights.D2) / (r0 - r1) : 0;
                    double ofF0 = heun ? (2 * weights.D2 - weights.D1 * r1) / (r0 - r1) : weights.D1;
                    return
                    [
                        new Term(Converted(count - 2), weights.D0 - ofF1 / r1 - ofF0 / r0),
                        new Term(Converted(count - 1), ofF1 / r1),
                        new Term(Converted(count), ofF0 / r0),
                    ];
            }
        }
    }
}
