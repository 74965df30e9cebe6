namespace StableDiffusion.Schedulers;

/// <summary>
/// UniPC, a predictor-corrector of any order whose corrector costs no model call, arXiv:2302.04867. Mirrors diffusers'
/// <c>UniPCMultistepScheduler</c>.
/// </summary>
public sealed record UniPCMultistepScheduler : SigmaScheduler
{
    /// <summary>Order of the solver, 1 to 6. diffusers: <c>solver_order</c>.</summary>
    public int SolverOrder { get; init; } = 2;

    /// <summary>Variant of the step function: bh1 or bh2. diffusers: <c>solver_type</c>.</summary>
    public SolverType SolverType { get; init; } = SolverType.Bh2;

    /// <summary>Solve for the noise-free sample; false: for the noise. diffusers: <c>predict_x0</c>.</summary>
    public bool PredictX0 { get; init; } = true;

    /// <summary>Lower orders in the last steps. diffusers: <c>lower_order_final</c>.</summary>
    public bool LowerOrderFinal { get; init; } = true;

    /// <summary>Steps whose result is not corrected. diffusers: <c>disable_corrector</c>.</summary>
    public IReadOnlyList<int> DisableCorrector { get; init; } = [];

    /// <summary>Dynamic thresholding of the predicted noise-free sample. diffusers: <c>thresholding</c>.</summary>
    public bool Thresholding { get; init; }

    /// <summary>Quantile the threshold is taken at. diffusers: <c>dynamic_thresholding_ratio</c>.</summary>
    public double DynamicThresholdingRatio { get; init; } = 0.995;

    /// <summary>Largest threshold. diffusers: <c>sample_max_value</c>.</summary>
    public double SampleMaxValue { get; init; } = 1;

    /// <summary>The noise level after the last step. diffusers: <c>final_sigmas_type</c>.</summary>
    public FinalSigmasType FinalSigmasType { get; init; }

    /// <summary>Smallest noise level of a respacing; null for that of training. diffusers: <c>sigma_min</c>.</summary>
    public double? SigmaMin { get; init; }

    /// <summary>Largest noise level of a respacing; null for that of training. diffusers: <c>sigma_max</c>.</summary>
    public double? SigmaMax { get; init; }

    /// <summary>Rescale the betas so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    /// <summary>Must be false: flow matching is not of this model family. diffusers: <c>use_flow_sigmas</c>.</summary>
    public bool UseFlowSigmas { get; init; }

    internal override string? Problem() => base.Problem()
        ?? (SolverOrder is < 1 or > 6 ? $"solver_order is {SolverOrder}; it must be 1 to 6." : null)
        ?? (UseFlowSigmas ? "use_flow_sigmas is true; flow matching models are not supported." : null)
        ?? (FinalSigmasType == FinalSigmasType.Zero && (!PredictX0 || !LowerOrderFinal && SolverOrder > 1)
            ? "final_sigmas_type zero needs predict_x0 and lower_order_final; set it to sigma_min."
            : null);

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprodForSigmas(RescaleBetasZeroSnr);
        float[] training = NoiseTable.Sigmas(alphas);
        (int[] timesteps, double[] sigmas) = Respaced(SigmaMax ?? training[^1], SigmaMin ?? training[0], steps) is { } respaced
            ? WholeLevels(respaced, training, rounded: UseKarrasSigmas)
            : WholeLevels(TimestepTable.WholeWithEnd(this, NumTrainTimesteps, steps), training, steps);
        double last = FinalSigmasType == FinalSigmasType.Zero ? 0 : IsRespaced ? sigmas[^1] : training[0];
        return new Run(this, new RunTables
        {
            Timesteps = Array.ConvertAll(timesteps, t => (float)t),
            Sigmas = SigmaTable.ToSingle(sigmas.Append(last)),
            AlphasCumprod = alphas,
            FirstCall = start.FirstCall,
        });
    }

    sealed class Run(UniPCMultistepScheduler config, RunTables tables) : ScaledSigmaRun(tables)
    {
        /// <summary>The converted outputs lie in the first slots in turn: those of this step and of as many before as the order.</summary>
        Register Converted(int number) => Register.Slot(number % (config.SolverOrder + 1));

        Register StepStart => Register.Slot(config.SolverOrder + 1);

        public override StepProgram Step(int call)
        {
            int count = call - FirstCall;
            double alpha = Level(call).Alpha, sigma = Level(call).Sigma;
            Register original = config.PredictX0 ? Converted(count) : Register.Slot(config.SolverOrder + 2);
            var program = new StepProgramBuilder().Combine(original, Prediction.Original(config.PredictionType, alpha, sigma).Terms());
            if (config.PredictX0)
            {
                program.Add(SampleLimit.For(original, config.Thresholding, config.DynamicThresholdingRatio, config.SampleMaxValue));
            }
            else
            {
                program.Combine(Converted(count), Prediction.Noise(config.PredictionType, alpha, sigma).Terms());
            }
            if (count > 0 && !config.DisableCorrector.Contains(call - 1))
            {
                program.Combine(Register.Sample, Correct(call, count, OrderOf(call - 1)));
            }
            return program
                .Copy(StepStart, Register.Sample)
                .Combine(Register.Sample, Predict(call, count, OrderOf(call)))
                .Build(original);
        }

        int OrderOf(int call)
        {
            int order = config.LowerOrderFinal ? Math.Min(config.SolverOrder, Timesteps.Count - call) : config.SolverOrder;
            return Math.Min(order, call - FirstCall + 1);
        }

        /// <summary>The step from this call's noise level to the next, by the outputs up to this call's.</summary>
        Term[] Predict(int call, int count, int order)
        {
            var step = new UniPCStep(config, Level(call), Level(call + 1), [.. Enumerable.Range(1, order - 1).Select(age => Level(call - age))]);
            double[] weights = order == 2 ? [0.5] : step.SolveWeights(order - 1);
            return Update(Register.Sample, count, step, weights, []);
        }

        /// <summary>The step to this call's noise level once more, now with the output found there.</summary>
        Term[] Correct(int call, int count, int order)
        {
            var step = new UniPCStep(config, Level(call - 1), Level(call), [.. Enumerable.Range(1, order - 1).Select(age => Level(call - 1 - age))]);
            double[] weights = order == 1 ? [0.5] : step.SolveWeights(order);
            double ofNew = step.OfDifferences * weights[^1];
            return Update(StepStart, count - 1, step, weights[..^1], [new Term(Converted(count), ofNew), new Term(Converted(count - 1), -ofNew)]);
        }

        /// <summary>Sample, newest output m0, and the weighted differences (m_i - m0) / r_i of the older ones.</summary>
        Term[] Update(Register from, int newest, UniPCStep step, double[] weights, Term[] more)
        {
            List<Term> terms = [new Term(from, step.OfSample), new Term(Converted(newest), step.OfOutput), .. more];
            for (int i = 0; i < weights.Length; i++)
            {
                double weight = step.OfDifferences * weights[i] / step.Ratios[i];
                terms.Add(new Term(Converted(newest - 1 - i), weight));
                terms.Add(new Term(Converted(newest), -weight));
            }
            return [.. terms];
        }
    }
}
