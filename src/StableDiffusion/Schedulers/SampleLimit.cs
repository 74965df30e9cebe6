namespace StableDiffusion.Schedulers;

/// <summary>Clipping or thresholding of the predicted noise-free sample. diffusers: <c>clip_sample</c>, <c>thresholding</c>.</summary>
static class SampleLimit
{
    /// <summary>The instruction that limits a register; null when nothing limits it. Thresholding goes before clipping.</summary>
    public static StepInstruction? For(Register target, bool thresholding, double ratio, double maxValue, bool clip = false, double clipRange = 1) =>
        thresholding ? new DynamicThreshold(target, ratio, maxValue)
        : clip ? new Clamp(target, -clipRange, clipRange)
        : null;
}
