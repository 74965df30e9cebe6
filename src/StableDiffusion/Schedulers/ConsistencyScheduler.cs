namespace StableDiffusion.Schedulers;

/// <summary>What the schedulers of consistency-distilled models have in common: few steps, picked from those of the distillation.</summary>
public abstract record ConsistencyScheduler : BetaScheduler
{
    /// <summary>Stable Diffusion's betas and the leading spacing, as the classes have by default.</summary>
    protected ConsistencyScheduler() =>
        (BetaStart, BetaEnd, BetaSchedule, TimestepSpacing) = (0.00085, 0.012, BetaSchedule.ScaledLinear, TimestepSpacing.Leading);

    /// <summary>Steps of the schedule the model was distilled with. diffusers: <c>original_inference_steps</c>.</summary>
    public int OriginalInferenceSteps { get; init; } = 50;

    /// <summary>Rescale the betas so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    private protected override bool TakesTimesteps => true;

    internal override string? Problem() => base.Problem()
        ?? (OriginalInferenceSteps < 1 || OriginalInferenceSteps > NumTrainTimesteps
            ? $"original_inference_steps is {OriginalInferenceSteps}; it must be 1 to {NumTrainTimesteps}, the training timesteps."
            : null);

    /// <summary>The timesteps visited, descending.</summary>
    private protected int[] Visited(int steps, SchedulerStart start)
    {
        if (start.Timesteps is { } chosen)
        {
            return [.. chosen.Select(t => (int)t)];
        }
        int original = start.OriginalShare is double share ? (int)(OriginalInferenceSteps * share) : OriginalInferenceSteps;
        if (steps > original)
        {
            throw new ArgumentException(original == OriginalInferenceSteps
                ? $"The number of steps is {steps}; {Name} takes at most {original}, the steps the model was distilled with (original_inference_steps)."
                : $"The number of steps is {steps}; {Name} takes at most {original} at this strength, its share of the {OriginalInferenceSteps} steps the model was distilled with.");
        }
        int stride = NumTrainTimesteps / OriginalInferenceSteps;
        double skip = original / (double)steps;
        return [.. Enumerable.Range(0, steps).Select(i => (original - (int)Math.Floor(i * skip)) * stride - 1)];
    }
}
