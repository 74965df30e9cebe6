namespace StableDiffusion.Schedulers;

/// <summary>
/// Linear multistep method of order 4 on noise levels, after k-diffusion's LMS sampler. Mirrors diffusers' <c>LMSDiscreteScheduler</c>;
/// under linspace the timesteps have fractions.
/// </summary>
public sealed record LMSDiscreteScheduler : SigmaScheduler
{
    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        float[] alphas = AlphasCumprod();
        float[] training = NoiseTable.Sigmas(alphas);
        (float[] timesteps, double[] sigmas) = Levels(TimestepTable.Fractional(this, steps), training);
        float[] levels = SigmaTable.ToSingle(sigmas.Append(0));
        return new Run(PredictionType, new RunTables
        {
            Timesteps = timesteps,
            Sigmas = levels,
            AlphasCumprod = alphas,
            InitNoiseSigma = SigmaRun.InitialSigma(levels, TimestepSpacing),
            FirstCall = start.FirstCall,
        });
    }

    sealed class Run(PredictionType prediction, RunTables tables) : SigmaRun(tables)
    {
        /// <summary>The last four derivatives lie in slots 0 to 3 in turn.</summary>
        const int MaxOrder = 4;

        static readonly Register Original = Register.Slot(MaxOrder);

        public override StepProgram Step(int call)
        {
            int count = call - FirstCall;
            double sigma = Sigmas[call];
            Prediction original = Prediction.OriginalUnscaled(prediction, sigma);
            int order = Math.Min(call + 1, MaxOrder);
            // After a start in the middle the order counts skipped steps as well, but only the derivatives there are get a weight.
            int known = Math.Min(count + 1, order);
            List<Term> terms = [new Term(Register.Sample, 1)];
            for (int age = 0; age < known; age++)
            {
                terms.Add(new Term(Derivative(count - age), Coefficient(order, call, age)));
            }
            return new StepProgramBuilder()
                .Combine(Original, original.Terms())
                .Combine(Derivative(count), original.Derivative(sigma).Terms())
                .Combine(Register.Sample, [.. terms])
                .Build(Original);
        }

        static Register Derivative(int number) => Register.Slot(number % MaxOrder);

        /// <summary>
        /// Integral over the step of the Lagrange polynomial that is 1 at the noise level <paramref name="age"/> calls ago and 0 at the
        /// other order - 1. Two Gauss points are exact for its degree of at most 3.
        /// </summary>
        double Coefficient(int order, int call, int age)
        {
            double from = Sigmas[call], to = Sigmas[call + 1];
            double middle = (from + to) / 2, offset = (to - from) / (2 * Math.Sqrt(3));
            return (to - from) / 2 * (Lagrange(middle - offset) + Lagrange(middle + offset));

            double Lagrange(double x)
            {
                double product = 1;
                for (int k = 0; k < order; k++)
                {
                    product *= k == age ? 1 : (x - Sigmas[call - k]) / ((double)Sigmas[call - age] - Sigmas[call - k]);
                }
                return product;
            }
        }
    }
}
