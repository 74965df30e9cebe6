namespace StableDiffusion.Schedulers;

/// <summary>
/// A noise schedule with its solver: an immutable description that any number of generations may share. The schedulers here are
/// the <see cref="Scheduler"/> records; implement this interface to bring one of your own.
/// </summary>
public interface IScheduler
{
    /// <summary>The class name in diffusers, as in <c>_class_name</c> of <c>scheduler_config.json</c>.</summary>
    string Name { get; }

    /// <summary>Model calls per step: 2 for Heun and DPM2, whose tables hold two entries per step; else 1.</summary>
    int Order { get; }

    /// <summary>Lays out the schedule of one generation.</summary>
    /// <param name="steps">Number of denoising steps, 1 to the number of training timesteps.</param>
    /// <param name="start">Where and how it begins; null for a whole generation with the default arguments.</param>
    /// <exception cref="ArgumentException">The steps or the start do not fit this scheduler; the message says what does.</exception>
    SchedulerRun Begin(int steps, SchedulerStart? start = null);
}

/// <summary>
/// What one generation asks of its scheduler beside the number of steps. These are the arguments of diffusers' <c>set_timesteps</c>,
/// <c>set_begin_index</c> and <c>step</c>; a scheduler ignores the step arguments it does not have, as the pipelines there do.
/// </summary>
public sealed record SchedulerStart
{
    /// <summary>Index of the first model call, for image-to-image: the calls before it are skipped. diffusers: <c>begin_index</c>.</summary>
    public int FirstCall { get; init; }

    /// <summary>Timesteps to visit instead of the computed ones, descending. Not every scheduler takes them.</summary>
    public IReadOnlyList<double>? Timesteps { get; init; }

    /// <summary>Noise levels to visit, descending and with the final one (usually 0) at the end. Not every scheduler takes them.</summary>
    public IReadOnlyList<double>? Sigmas { get; init; }

    /// <summary>Share of fresh noise per step, 0 to 1 (DDIM: 0 unless given; TCD: 0.3 unless given). diffusers: <c>eta</c>.</summary>
    public double? Eta { get; init; }

    /// <summary>
    /// LCM and TCD: the share, 0 to 1, of the schedule the model was distilled with, from its least noisy end, that the steps are spread over; for
    /// image-to-image, where all steps are run. diffusers: <c>strength</c> of <c>set_timesteps</c>.
    /// </summary>
    public double? OriginalShare { get; init; }

    /// <summary>DDIM: take the noise from the clipped prediction. diffusers: <c>use_clipped_model_output</c>.</summary>
    public bool UseClippedModelOutput { get; init; }

    /// <summary>Euler: noise added before a step, spread over all steps. diffusers: <c>s_churn</c>.</summary>
    public double Churn { get; init; }

    /// <summary>Euler: lowest sigma at which noise is added. diffusers: <c>s_tmin</c>.</summary>
    public double ChurnMinSigma { get; init; }

    /// <summary>Euler: highest sigma at which noise is added. diffusers: <c>s_tmax</c>.</summary>
    public double ChurnMaxSigma { get; init; } = double.PositiveInfinity;

    /// <summary>Euler: scale of the added noise. diffusers: <c>s_noise</c>.</summary>
    public double ChurnNoise { get; init; } = 1;

    /// <summary>
    /// First model call of an image-to-image generation, as diffusers' pipelines choose it: the last
    /// min(floor(steps * strength), steps) steps are run.
    /// </summary>
    /// <param name="steps">Number of steps of the whole schedule.</param>
    /// <param name="strength">0 (keep the image) to 1 (all steps).</param>
    /// <param name="order"><see cref="IScheduler.Order"/>.</param>
    public static int FirstCallFor(int steps, double strength, int order) => (steps - Math.Min((int)(steps * strength), steps)) * order;
}
