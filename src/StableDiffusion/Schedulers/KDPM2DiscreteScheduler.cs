namespace StableDiffusion.Schedulers;

/// <summary>DPM-Solver-2 on noise levels ("DPM2"). Mirrors diffusers' <c>KDPM2DiscreteScheduler</c>.</summary>
public sealed record KDPM2DiscreteScheduler : Kdpm2Scheduler
{
    private protected override bool IsAncestral => false;

    private protected override Leg LegBetween(float from, float to, bool last) => new(GeometricMean(to, from), to, 0);
}
