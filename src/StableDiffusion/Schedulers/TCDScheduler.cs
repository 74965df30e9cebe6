namespace StableDiffusion.Schedulers;

/// <summary>
/// Sampling of trajectory consistency models, arXiv:2402.19159: go below the next timestep, then add noise up to it; eta (0.3 unless
/// given) says how far below. Mirrors diffusers' <c>TCDScheduler</c>.
/// </summary>
public sealed record TCDScheduler : ConsistencyScheduler
{
    private protected override SchedulerRun Start(int steps, SchedulerStart start) => new Run(this, Visited(steps, start), start);

    sealed class Run(TCDScheduler config, int[] timesteps, SchedulerStart start)
        : AlphaRun(Tables(timesteps, config.AlphasCumprod(config.RescaleBetasZeroSnr), config.PredictionType, start))
    {
        static readonly Register Original = Register.Slot(0);

        readonly double eta = start.Eta ?? 0.3;

        public override StepProgram Step(int call)
        {
            bool last = call == Timesteps.Count - 1;
            int next = last ? 0 : TimestepAt(call + 1);
            double alpha = Alpha(TimestepAt(call)), alphaNext = Alpha(next);
            // The timestep below is found in float32, as there.
            double alphaBelow = Alpha((int)MathF.Floor((float)(1 - eta) * next));
            double signal = Math.Sqrt(alpha), noise = Math.Sqrt(1 - alpha);
            bool draws = eta > 0 && !last;
            double rest = draws ? Math.Sqrt(alphaNext / alphaBelow) : 1;
            Prediction epsilon = Prediction.Noise(config.PredictionType, signal, noise);
            Term[] fresh = draws ? [new Term(Register.Noise, Math.Sqrt(1 - alphaNext / alphaBelow))] : [];
            return new StepProgramBuilder()
                .Combine(Original, Prediction.Original(config.PredictionType, signal, noise).Terms())
                .Combine(
                    Register.Sample,
                    [new Term(Original, rest * Math.Sqrt(alphaBelow)), .. epsilon.Terms(rest * Math.Sqrt(1 - alphaBelow)), .. fresh])
                .Build(Original, draws);
        }
    }
}
