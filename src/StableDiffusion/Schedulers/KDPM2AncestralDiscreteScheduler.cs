namespace StableDiffusion.Schedulers;

/// <summary>Ancestral sampling with DPM-Solver-2 steps ("DPM2 a"). Mirrors diffusers' <c>KDPM2AncestralDiscreteScheduler</c>.</summary>
public sealed record KDPM2AncestralDiscreteScheduler : Kdpm2Scheduler
{
    private protected override bool IsAncestral => true;

    private protected override Leg LegBetween(float from, float to, bool last)
    {
        float up = MathF.Sqrt(to * to * (from * from - to * to) / (from * from));
        float down = MathF.Sqrt(to * to - up * up);
        return new Leg(last ? 0 : GeometricMean(from, down), down, up);
    }
}
