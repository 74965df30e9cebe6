namespace StableDiffusion.Schedulers;

/// <summary>A run on noise levels with an unscaled signal: x = x0 + sigma * noise; the model sees x / sqrt(sigma^2 + 1).</summary>
abstract class SigmaRun(RunTables tables) : SchedulerRun(tables)
{
    /// <inheritdoc/>
    public override double InputScale(int call) => 1 / Math.Sqrt((double)Sigmas[call] * Sigmas[call] + 1);

    /// <inheritdoc/>
    public override (double Signal, double Noise) AddNoise(int call) => (1, Sigmas[call]);

    /// <summary>
    /// Churn, algorithm 2 of arXiv:2206.00364: noise added before a step. Gives the noise level the step starts from, which is raised by
    /// it, and a program that begins with the addition. Noise is drawn where the level is raised, whatever its weight.
    /// </summary>
    protected (double Raised, bool Draws, StepProgramBuilder Program) Churn(int call, SchedulerStart start)
    {
        double sigma = Sigmas[call];
        bool inRange = sigma >= start.ChurnMinSigma && sigma <= start.ChurnMaxSigma;
        double gamma = inRange ? Math.Min(start.Churn / (Sigmas.Count - 1), Math.Sqrt(2) - 1) : 0;
        var program = new StepProgramBuilder();
        if (gamma <= 0)
        {
            return (sigma, false, program);
        }
        double raised = sigma * (gamma + 1);
        double added = start.ChurnNoise * Math.Sqrt(raised * raised - sigma * sigma);
        program.Combine(Register.Sample, new Term(Register.Sample, 1), new Term(Register.Noise, added));
        return (raised, true, program);
    }

    /// <summary>
    /// The standard deviation of the initial noise, in float32: the largest noise level, or with the leading spacing, which leaves out
    /// the last training timestep, that of the noisy sample.
    /// </summary>
    public static double InitialSigma(float[] sigmas, TimestepSpacing spacing)
    {
        float largest = sigmas.Max();
        return spacing == TimestepSpacing.Leading ? MathF.Sqrt(largest * largest + 1) : largest;
    }
}
