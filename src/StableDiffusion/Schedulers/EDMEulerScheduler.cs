namespace StableDiffusion.Schedulers;

/// <summary>How EDM's noise levels are spaced. diffusers: <c>sigma_schedule</c>.</summary>
public enum EdmSigmaSchedule
{
    /// <summary>Equation 5 of arXiv:2206.00364.</summary>
    Karras,

    /// <summary>Evenly in the logarithm.</summary>
    Exponential,
}

/// <summary>
/// Euler's method with the preconditioning of arXiv:2206.00364 (EDM), for models trained that way. Mirrors diffusers'
/// <c>EDMEulerScheduler</c>; the model's time is a quarter of the logarithm of the noise level. It takes no sigmas of one's own: what
/// diffusers' <c>set_timesteps</c> calls so are positions between the largest and the smallest level, and its pipelines cannot pass any
/// (the class refuses lists).
/// </summary>
public sealed record EDMEulerScheduler : Scheduler
{
    /// <summary>Smallest noise level. diffusers: <c>sigma_min</c>.</summary>
    public double SigmaMin { get; init; } = 0.002;

    /// <summary>Largest noise level. diffusers: <c>sigma_max</c>.</summary>
    public double SigmaMax { get; init; } = 80;

    /// <summary>Standard deviation of the training data. diffusers: <c>sigma_data</c>.</summary>
    public double SigmaData { get; init; } = 0.5;

    /// <summary>How the noise levels are spaced. diffusers: <c>sigma_schedule</c>.</summary>
    public EdmSigmaSchedule SigmaSchedule { get; init; }

    /// <summary>Exponent of the Karras spacing. diffusers: <c>rho</c>.</summary>
    public double Rho { get; init; } = 7;

    /// <summary>The noise level after the last step. diffusers: <c>final_sigmas_type</c>.</summary>
    public FinalSigmasType FinalSigmasType { get; init; }

    internal override string? Problem() => base.Problem()
        ?? (PredictionType == PredictionType.Sample ? "prediction_type is sample; it must be epsilon or v_prediction." : null)
        ?? (SigmaMin > 0 && SigmaMax > SigmaMin && SigmaData > 0 && Rho > 0
            ? null
            : "sigma_min, sigma_data and rho must be above 0, and sigma_max above sigma_min.");

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] sigmas = SigmaSchedule == EdmSigmaSchedule.Karras
            ? SigmaTable.ToSingle(SigmaTable.Karras(SigmaMax, SigmaMin, steps, Rho))
            : [.. NoiseTable.Linspace((float)Math.Log(SigmaMin), (float)Math.Log(SigmaMax), steps).Reverse().Select(log => (float)Math.Exp(log))];
        return new Run(this, start, new RunTables
        {
            Timesteps = Array.ConvertAll(sigmas, sigma => 0.25f * (float)Math.Log(sigma)),
            Sigmas = [.. sigmas, FinalSigmasType == FinalSigmasType.SigmaMin ? sigmas[^1] : 0],
            InitNoiseSigma = Math.Sqrt(SigmaMax * SigmaMax + 1),
            FirstCall = start.FirstCall,
        });
    }

    sealed class Run(EDMEulerScheduler config, SchedulerStart start, RunTables tables) : SigmaRun(tables)
    {
        static readonly Register Original = Register.Slot(0);

        /// <summary>sigma^2 + sigma_data^2.</summary>
        double Variance(double sigma) => sigma * sigma + config.SigmaData * config.SigmaData;

        public override double InputScale(int call) => 1 / Math.Sqrt(Variance(Sigmas[call]));

        public override StepProgram Step(int call)
        {
            (double raised, bool draws, StepProgramBuilder program) = Churn(call, start);
            double ofOutput = raised * config.SigmaData / Math.Sqrt(Variance(raised));
            var original = new Prediction(
                config.SigmaData * config.SigmaData / Variance(raised),
                config.PredictionType == PredictionType.Epsilon ? ofOutput : -ofOutput);
            return program
                .Combine(Original, original.Terms())
                .Combine(Register.Sample, [new Term(Register.Sample, 1), .. original.Derivative(raised).Terms(Sigmas[call + 1] - raised)])
                .Build(Original, draws);
        }
    }
}
