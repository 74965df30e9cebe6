namespace StableDiffusion.Schedulers;

/// <summary>
/// Schedules of ten steps found by optimisation, arXiv:2404.14507, for <see cref="SchedulerStart.Timesteps"/> or
/// <see cref="SchedulerStart.Sigmas"/>. diffusers: <c>AysSchedules</c>.
/// </summary>
public static class AlignYourSteps
{
    /// <summary>Timesteps for Stable Diffusion 1.x.</summary>
    public static IReadOnlyList<double> StableDiffusionTimesteps { get; } = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24];

    /// <summary>Noise levels for Stable Diffusion 1.x, the final 0 included.</summary>
    public static IReadOnlyList<double> StableDiffusionSigmas { get; } =
        [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0];

    /// <summary>Timesteps for Stable Diffusion XL.</summary>
    public static IReadOnlyList<double> StableDiffusionXLTimesteps { get; } = [999, 845, 730, 587, 443, 310, 193, 116, 53, 13];

    /// <summary>Noise levels for Stable Diffusion XL, the final 0 included.</summary>
    public static IReadOnlyList<double> StableDiffusionXLSigmas { get; } =
        [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0];
}
