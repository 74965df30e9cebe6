namespace StableDiffusion.Schedulers;

/// <summary>What the multistep and the singlestep DPM solver have in common. arXiv:2206.00927, arXiv:2211.01095.</summary>
public abstract record DpmSolverScheduler : SigmaScheduler
{
    /// <summary>Order of the solver, 1 to 3. diffusers: <c>solver_order</c>.</summary>
    public int SolverOrder { get; init; } = 2;

    /// <summary>The equation that is integrated. diffusers: <c>algorithm_type</c>.</summary>
    public AlgorithmType AlgorithmType { get; init; } = AlgorithmType.DpmSolverPlusPlus;

    /// <summary>Second-order rule: midpoint or Heun. diffusers: <c>solver_type</c>.</summary>
    public SolverType SolverType { get; init; } = SolverType.Midpoint;

    /// <summary>Dynamic thresholding of the predicted noise-free sample. diffusers: <c>thresholding</c>.</summary>
    public bool Thresholding { get; init; }

    /// <summary>Quantile the threshold is taken at. diffusers: <c>dynamic_thresholding_ratio</c>.</summary>
    public double DynamicThresholdingRatio { get; init; } = 0.995;

    /// <summary>Largest threshold. diffusers: <c>sample_max_value</c>.</summary>
    public double SampleMaxValue { get; init; } = 1;

    /// <summary>The noise level after the last step. diffusers: <c>final_sigmas_type</c>.</summary>
    public FinalSigmasType FinalSigmasType { get; init; }

    /// <summary>Leave out timesteps whose lambda is below this. diffusers: <c>lambda_min_clipped</c>.</summary>
    public double LambdaMinClipped { get; init; } = double.NegativeInfinity;

    /// <summary>Must be null: a predicted variance is not supported. diffusers: <c>variance_type</c>.</summary>
    public string? VarianceType { get; init; }

    /// <summary>Must be false: flow matching is not of this model family. diffusers: <c>use_flow_sigmas</c>.</summary>
    public bool UseFlowSigmas { get; init; }

    /// <summary>The algorithm with DEIS read as DPM-Solver++.</summary>
    private protected AlgorithmType Algorithm => AlgorithmType == AlgorithmType.Deis ? AlgorithmType.DpmSolverPlusPlus : AlgorithmType;

    private protected bool PredictsNoise => Algorithm is AlgorithmType.DpmSolver or AlgorithmType.SdeDpmSolver;

    private protected bool IsStochastic => Algorithm is AlgorithmType.SdeDpmSolver or AlgorithmType.SdeDpmSolverPlusPlus;

    internal override string? Problem() => base.Problem()
        ?? (SolverOrder is < 1 or > 3 ? $"solver_order is {SolverOrder}; it must be 1, 2 or 3." : null)
        ?? (VarianceType is not null ? $"variance_type is {VarianceType}; a model that predicts its variance is not supported." : null)
        ?? (UseFlowSigmas ? "use_flow_sigmas is true; flow matching models are not supported." : null)
        ?? (PredictsNoise && FinalSigmasType == FinalSigmasType.Zero
            ? "final_sigmas_type zero is not possible with algorithm_type dpmsolver or sde-dpmsolver; set it to sigma_min."
            : null);

    /// <summary>The number of timesteps that are left out for <see cref="LambdaMinClipped"/>.</summary>
    private protected int ClippedTimesteps(float[] alphasCumprod) => alphasCumprod.Count(
        alpha => MathF.Log(MathF.Sqrt(alpha)) - MathF.Log(MathF.Sqrt(1 - alpha)) < LambdaMinClipped);

    /// <summary>
    /// Adds the conversion of the model output into what the solver integrates: the noise-free sample for DPM-Solver++, the noise for
    /// DPM-Solver.
    /// </summary>
    /// <returns>Where the noise-free sample is: the target, or for DPM-Solver the scratch register.</returns>
    private protected Register Convert(StepProgramBuilder program, Register target, Register scratch, NoiseLevel level)
    {
        double alpha = level.Alpha, sigma = level.Sigma;
        Register original = PredictsNoise ? scratch : target;
        program.Combine(original, Prediction.Original(PredictionType, alpha, sigma).Terms());
        program.Add(SampleLimit.For(original, Thresholding, DynamicThresholdingRatio, SampleMaxValue));
        if (PredictsNoise)
        {
            program.Combine(target, Thresholding
                ? [new Term(Register.Sample, 1 / sigma), new Term(original, -alpha / sigma)]
                : Prediction.Noise(PredictionType, alpha, sigma).Terms());
        }
        return original;
    }
}
