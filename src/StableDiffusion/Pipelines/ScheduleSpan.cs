using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>The part of a schedule that a denoise loop runs: the model calls <c>[Run.FirstCall, End)</c>.</summary>
internal sealed record ScheduleSpan(SchedulerRun Run, int End)
{
    /// <summary>First model call.</summary>
    public int First => Run.FirstCall;

    /// <summary>Number of model calls.</summary>
    public int Calls => End - First;

    /// <summary>Lays out a schedule and finds the part of it to run.</summary>
    /// <param name="scheduler">The scheduler.</param>
    /// <param name="steps">Of the whole schedule.</param>
    /// <param name="start">What the scheduler is asked beside.</param>
    /// <param name="strength">From a picture: the share of the steps that is run; null: all.</param>
    /// <param name="denoisingStart">As <see cref="GenerationRequest.DenoisingStart"/>; then the strength does not count.</param>
    /// <param name="denoisingEnd">As <see cref="GenerationRequest.DenoisingEnd"/>.</param>
    /// <exception cref="ArgumentException">No step is left; says what would leave one.</exception>
    public static ScheduleSpan Of(IScheduler scheduler, int steps, SchedulerStart start, double? strength, double? denoisingStart = null, double? denoisingEnd = null)
    {
        int first = 0;
        if (denoisingStart is double from)
        {
            IReadOnlyList<float> timesteps = scheduler.Begin(steps, start).Timesteps;
            int left = timesteps.Count(timestep => timestep < Cutoff(scheduler, from));
            // A step of a second-order scheduler is two calls, but for the last: not to begin in the middle of one.
            left += scheduler.Order == 2 && left % 2 == 0 ? 1 : 0;
            first = timesteps.Count - Math.Min(left, timesteps.Count);
            Require(first < timesteps.Count, $"denoising start: {from} leaves none of {steps} steps; take a smaller one or more steps");
        }
        else if (strength is double share)
        {
            first = SchedulerStart.FirstCallFor(steps, share, scheduler.Order);
            Require((int)(steps * share) >= 1, $"strength: {share} of {steps} steps is less than one step; take at least {Math.Ceiling(1000.0 / steps) / 1000}, or more steps");
        }
        SchedulerRun run = scheduler.Begin(steps, start with { FirstCall = first });
        int end = run.Timesteps.Count;
        if (denoisingEnd is double to)
        {
            end = first + run.Timesteps.Skip(first).Count(timestep => timestep >= Cutoff(scheduler, to));
            Require(end > first, $"denoising end: {to} leaves none of {steps} steps; take a larger one or more steps");
        }
        return new ScheduleSpan(run, end);
    }

    /// <summary>The timestep at a share of the training schedule, rounded half to even as diffusers' pipelines do.</summary>
    private static int Cutoff(IScheduler scheduler, double share)
    {
        int train = scheduler is Scheduler known ? known.NumTrainTimesteps : 1000;
        return (int)Math.Round(train - (share * train), MidpointRounding.ToEven);
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }
}
