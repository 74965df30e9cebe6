namespace StableDiffusion.Schedulers;

/// <summary>
/// Exponential integrator with polynomials in log rho fitted to the noise, arXiv:2204.13902. Mirrors diffusers'
/// <c>DEISMultistepScheduler</c>, whose last noise level is the smallest of training.
/// </summary>
public sealed record DEISMultistepScheduler : SigmaScheduler
{
    /// <summary>Order of the solver, 1 to 3. diffusers: <c>solver_order</c>.</summary>
    public int SolverOrder { get; init; } = 2;

    /// <summary>Read as deis, whatever DPM algorithm it names. diffusers: <c>algorithm_type</c>.</summary>
    public AlgorithmType AlgorithmType { get; init; } = AlgorithmType.Deis;

    /// <summary>Read as logrho, whatever it names. diffusers: <c>solver_type</c>.</summary>
    public SolverType SolverType { get; init; } = SolverType.LogRho;

    /// <summary>Lower orders in the last steps of a run of less than 15. diffusers: <c>lower_order_final</c>.</summary>
    public bool LowerOrderFinal { get; init; } = true;

    /// <summary>Dynamic thresholding of the predicted noise-free sample. diffusers: <c>thresholding</c>.</summary>
    public bool Thresholding { get; init; }

    /// <summary>Quantile the threshold is taken at. diffusers: <c>dynamic_thresholding_ratio</c>.</summary>
    public double DynamicThresholdingRatio { get; init; } = 0.995;

    /// <summary>Largest threshold. diffusers: <c>sample_max_value</c>.</summary>
    public double SampleMaxValue { get; init; } = 1;

    /// <summary>Must be false: flow matching is not of this model family. diffusers: <c>use_flow_sigmas</c>.</summary>
    public bool UseFlowSigmas { get; init; }

    internal override string? Problem() => base.Problem()
        ?? (SolverOrder is < 1 or > 3 ? $"solver_order is {SolverOrder}; it must be 1, 2 or 3." : null)
        ?? (UseFlowSigmas ? "use_flow_sigmas is true; flow matching models are not supported." : null)
        ?? (AlgorithmType is AlgorithmType.SdeDpmSolver or AlgorithmType.SdeDpmSolverPlusPlus
            ? "a stochastic algorithm_type does not exist for DEIS; set it to deis."
            : null);

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprod();
        float[] training = NoiseTable.Sigmas(alphas);
        (int[] timesteps, double[] sigmas) = WholeLevels(TimestepTable.WholeWithEnd(this, NumTrainTimesteps, steps), training, steps);
        return new Run(this, new RunTables
        {
            Timesteps = Array.ConvertAll(timesteps, t => (float)t),
            Sigmas = SigmaTable.ToSingle(sigmas.Append(IsRespaced ? sigmas[^1] : training[0])),
            AlphasCumprod = alphas,
            FirstCall = start.FirstCall,
        });
    }

    sealed class Run(DEISMultistepScheduler config, RunTables tables) : ScaledSigmaRun(tables)
    {
        /// <summary>The predicted noise lies in the first slots in turn.</summary>
        Register Noise(int number) => Register.Slot(number % config.SolverOrder);

        public override StepProgram Step(int call)
        {
            int count = call - FirstCall, order = OrderOf(call);
            NoiseLevel level = Level(call), next = Level(call + 1);
            Register original = Register.Slot(config.SolverOrder);
            var program = new StepProgramBuilder()
                .Combine(original, Prediction.Original(config.PredictionType, level.Alpha, level.Sigma).Terms())
                .Add(SampleLimit.For(original, config.Thresholding, config.DynamicThresholdingRatio, config.SampleMaxValue))
                .Combine(Noise(count), config.Thresholding
                    ? [new Term(Register.Sample, 1 / level.Sigma), new Term(original, -level.Alpha / level.Sigma)]
                    : Prediction.Noise(config.PredictionType, level.Alpha, level.Sigma).Terms());

            float[] nodes = [.. Enumerable.Range(0, order).Select(age => Rho(call - age))];
            List<Term> terms = [new Term(Register.Sample, next.Alpha / level.Alpha)];
            for (int age = 0; age < order; age++)
            {
                terms.Add(new Term(Noise(count - age), next.Alpha * LagrangeIntegral(nodes, age, Rho(call + 1))));
            }
            return program.Combine(Register.Sample, [.. terms]).Build(original);
        }

        int OrderOf(int call)
        {
            int left = Timesteps.Count - call;
            int order = Math.Min(config.SolverOrder, call - FirstCall + 1);
            return config.LowerOrderFinal && Timesteps.Count < 15 ? Math.Min(order, left) : order;
        }

        /// <summary>sigma / alpha.</summary>
        float Rho(int index) => Level(index).Sigma / Level(index).Alpha;

        /// <summary>
        /// Integral from the first node to <paramref name="to"/> over rho of the polynomial in log rho that is 1 at node number
        /// <paramref name="index"/> and 0 at the others, at most two of them. The antiderivatives nearly cancel, the more the shorter the
        /// steps are, so they are taken in float32 and in the order of diffusers, whose rounding they reproduce.
        /// </summary>
        static float LagrangeIntegral(float[] nodes, int index, float to) => nodes.Length switch
        {
            1 => to - nodes[0],
            2 => Linear(to, nodes[index], nodes[1 - index]) - Linear(nodes[0], nodes[index], nodes[1 - index]),
            _ => Quadratic(to, nodes[index], nodes[(index + 1) % 3], nodes[(index + 2) % 3])
                - Quadratic(nodes[0], nodes[index], nodes[(index + 1) % 3], nodes[(index + 2) % 3]),
        };

        /// <summary>Antiderivative of (log x - log c) / (log b - log c).</summary>
        static float Linear(float x, float b, float c) => x * (-Log(c) + Log(x) - 1) / (Log(b) - Log(c));

        /// <summary>Antiderivative of (log x - log c)(log x - log d) / ((log b - log c)(log b - log d)).</summary>
        static float Quadratic(float x, float b, float c, float d)
        {
            float log = Log(x), logC = Log(c), logD = Log(d);
            float numerator = x * (logC * (logD - log + 1) - logD * log + logD + log * log - 2 * log + 2);
            return numerator / ((Log(b) - logC) * (Log(b) - logD));
        }

        static float Log(float x) => (float)Math.Log(x);
    }
}
