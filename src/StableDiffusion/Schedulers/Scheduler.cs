using System.Text.Json;
using System.Text.Json.Serialization;

namespace StableDiffusion.Schedulers;

/// <summary>
/// Base of the schedulers that come with the library: an immutable record whose properties are the keys of diffusers'
/// <c>scheduler_config.json</c>, with the defaults of the class there (version 0.40).
/// </summary>
public abstract record Scheduler : IScheduler
{
    /// <inheritdoc/>
    [JsonIgnore]
    public string Name => GetType().Name;

    /// <inheritdoc/>
    [JsonIgnore]
    public virtual int Order => 1;

    /// <summary>Timesteps the model was trained with. diffusers: <c>num_train_timesteps</c>.</summary>
    public int NumTrainTimesteps { get; init; } = 1000;

    /// <summary>What the model predicts. diffusers: <c>prediction_type</c>.</summary>
    public PredictionType PredictionType { get; init; } = PredictionType.Epsilon;

    /// <summary>The config this was read from, kept for <see cref="Create"/>.</summary>
    [JsonIgnore]
    internal ConfigSource Source { get; init; } = ConfigSource.None;

    /// <inheritdoc/>
    public SchedulerRun Begin(int steps, SchedulerStart? start = null)
    {
        start ??= new SchedulerStart();
        int custom = start.Timesteps?.Count ?? start.Sigmas?.Count - 1 ?? steps;
        if (Problem() is { } problem)
        {
            throw new ArgumentException($"{Name}: {problem}");
        }
        if (steps < 1 || steps > NumTrainTimesteps)
        {
            throw new ArgumentException($"The number of steps is {steps}; it must be 1 to {NumTrainTimesteps}, the timesteps the model was trained with.");
        }
        if (start.Timesteps is not null && !TakesTimesteps || start.Sigmas is not null && !TakesSigmas)
        {
            throw new ArgumentException($"{Name} does not take {(start.Sigmas is null ? "timesteps" : "sigmas")} of one's own as it is configured; give the number of steps alone.");
        }
        if (start.Timesteps is not null && start.Sigmas is not null || custom != steps)
        {
            throw new ArgumentException("Give either timesteps, as many as there are steps, or sigmas, one more than there are steps.");
        }
        if (start.Eta is < 0 or > 1 or double.NaN)
        {
            throw new ArgumentException($"Eta is {start.Eta}; it must be 0 to 1.");
        }
        return Start(steps, start);
    }

    /// <summary>
    /// The config as diffusers' Stable Diffusion pipelines use it: they take <c>steps_offset</c> as 1 and <c>clip_sample</c> as false
    /// whatever an old config says. To be called by the pipelines of that family; SDXL's do not.
    /// </summary>
    public virtual Scheduler WithLegacyConfigFixes() => this;

    /// <summary>Reads a <c>scheduler_config.json</c>.</summary>
    /// <param name="path">The file, or the folder it lies in.</param>
    /// <exception cref="InvalidDataException">The file is no scheduler config, or asks for what is not supported; the message says what.</exception>
    public static Scheduler Load(string path) => SchedulerConfig.Load(path);

    /// <summary>Makes a scheduler from a config: <c>_class_name</c> chooses the class; unknown keys are ignored.</summary>
    /// <exception cref="InvalidDataException">The config lacks its class, or asks for what is not supported; the message says what.</exception>
    public static Scheduler FromConfig(JsonElement config) => SchedulerConfig.Read(config);

    /// <summary>
    /// Makes a scheduler by name and takes over from the model's own what both have: betas, prediction type, offsets and what else the
    /// model's config states. diffusers: <c>Other.from_config(scheduler.config)</c>.
    /// </summary>
    /// <param name="name">A class name of diffusers ("EulerDiscreteScheduler", "EulerDiscrete") or a name of the web UIs ("Euler a", "DPM++ 2M Karras").</param>
    /// <param name="model">The scheduler the model came with; null for the class defaults.</param>
    /// <exception cref="ArgumentException">No scheduler has that name (the message lists those there are), or it cannot do what the model needs.</exception>
    public static Scheduler Create(string name, Scheduler? model = null) => SchedulerCatalog.Create(name, model);

    /// <summary>The names <see cref="Create"/> knows: class names first, then those of the web UIs.</summary>
    public static IReadOnlyList<string> Names => SchedulerCatalog.Names;

    /// <summary>Whether the schedule may be given as timesteps.</summary>
    private protected virtual bool TakesTimesteps => false;

    /// <summary>Whether the schedule may be given as noise levels.</summary>
    private protected virtual bool TakesSigmas => false;

    /// <summary>What in this config is not supported, as a sentence; null when all of it is.</summary>
    internal virtual string? Problem() => NumTrainTimesteps < 2 ? $"num_train_timesteps is {NumTrainTimesteps}; it must be at least 2." : null;

    /// <summary>Lays out a schedule; the arguments are checked already.</summary>
    private protected abstract SchedulerRun Start(int steps, SchedulerStart start);
}

/// <summary>A scheduler whose training noise is given by betas.</summary>
public abstract record BetaScheduler : Scheduler
{
    /// <summary>First beta. diffusers: <c>beta_start</c>.</summary>
    public double BetaStart { get; init; } = 0.0001;

    /// <summary>Last beta. diffusers: <c>beta_end</c>.</summary>
    public double BetaEnd { get; init; } = 0.02;

    /// <summary>The way from one to the other. diffusers: <c>beta_schedule</c>.</summary>
    public BetaSchedule BetaSchedule { get; init; } = BetaSchedule.Linear;

    /// <summary>The betas themselves, one per training timestep, instead of the three above. diffusers: <c>trained_betas</c>.</summary>
    public IReadOnlyList<float>? TrainedBetas { get; init; }

    /// <summary>How inference timesteps are chosen. diffusers: <c>timestep_spacing</c>.</summary>
    public TimestepSpacing TimestepSpacing { get; init; } = TimestepSpacing.Linspace;

    /// <summary>Added to the timesteps of the leading spacing. diffusers: <c>steps_offset</c>.</summary>
    public int StepsOffset { get; init; }

    /// <inheritdoc/>
    public override Scheduler WithLegacyConfigFixes() => this with { StepsOffset = 1 };

    internal override string? Problem() => base.Problem()
        ?? (TrainedBetas is { } betas && betas.Count != NumTrainTimesteps
            ? $"trained_betas has {betas.Count} entries; num_train_timesteps asks for {NumTrainTimesteps}."
            : null);

    /// <summary>Running product of 1 - beta per training timestep, float32.</summary>
    /// <param name="zeroTerminalSnr">Rescale so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</param>
    private protected float[] AlphasCumprod(bool zeroTerminalSnr = false)
    {
        float[] betas = NoiseTable.Betas(this);
        return NoiseTable.AlphasCumprod(zeroTerminalSnr ? NoiseTable.RescaleZeroTerminalSnr(betas) : betas);
    }

    /// <summary>
    /// The same for the schedulers that divide by it: with a zero terminal signal-to-noise ratio the last entry is 2^-24, so that the
    /// first noise level is 4096 and not infinite.
    /// </summary>
    private protected float[] AlphasCumprodForSigmas(bool zeroTerminalSnr)
    {
        float[] alphas = AlphasCumprod(zeroTerminalSnr);
        if (zeroTerminalSnr)
        {
            alphas[^1] = 1f / (1 << 24);
        }
        return alphas;
    }
}

/// <summary>A scheduler that can respace its noise levels.</summary>
public abstract record SigmaScheduler : BetaScheduler
{
    /// <summary>Noise levels after Karras et al. diffusers: <c>use_karras_sigmas</c>.</summary>
    public bool UseKarrasSigmas { get; init; }

    /// <summary>Noise levels evenly in the logarithm. diffusers: <c>use_exponential_sigmas</c>.</summary>
    public bool UseExponentialSigmas { get; init; }

    /// <summary>Noise levels by the beta distribution. diffusers: <c>use_beta_sigmas</c>.</summary>
    public bool UseBetaSigmas { get; init; }

    internal override string? Problem() => base.Problem()
        ?? ((UseKarrasSigmas ? 1 : 0) + (UseExponentialSigmas ? 1 : 0) + (UseBetaSigmas ? 1 : 0) > 1
            ? "only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true."
            : null);

    private protected bool IsRespaced => UseKarrasSigmas || UseExponentialSigmas || UseBetaSigmas;

    /// <summary>The noise levels of the spacing that is on, descending; null when none is.</summary>
    private protected double[]? Respaced(double largest, double smallest, int steps) =>
        UseKarrasSigmas ? SigmaTable.Karras(largest, smallest, steps)
        : UseExponentialSigmas ? SigmaTable.Exponential(largest, smallest, steps)
        : UseBetaSigmas ? SigmaTable.Beta(largest, smallest, steps)
        : null;

    /// <summary>
    /// Noise levels at fractional timesteps; with a respacing, that between the first and the last of them and its own timesteps.
    /// </summary>
    /// <param name="timesteps">Timesteps of the spacing, descending.</param>
    /// <param name="training">Noise levels of training, ascending.</param>
    /// <param name="rounded">Round the timesteps of Karras' levels.</param>
    private protected (float[] Timesteps, double[] Sigmas) Levels(float[] timesteps, float[] training, bool rounded = false)
    {
        double[] sigmas = SigmaTable.Interpolate(timesteps, training);
        if (Respaced(sigmas[0], sigmas[^1], timesteps.Length) is not { } respaced)
        {
            return (timesteps, sigmas);
        }
        IEnumerable<double> times = SigmaTable.ToTimesteps(respaced, training);
        return (SigmaTable.ToSingle(rounded && UseKarrasSigmas ? times.Select(t => Math.Round(t, MidpointRounding.ToEven)) : times), respaced);
    }

    /// <summary>
    /// The same at whole timesteps, where a respacing goes over all of training. Its timesteps are rounded for Karras' levels and, as
    /// diffusers does, cut for the others.
    /// </summary>
    private protected (int[] Timesteps, double[] Sigmas) WholeLevels(int[] timesteps, float[] training, int steps, bool rounded = true) =>
        Respaced(training[^1], training[0], steps) is { } respaced
            ? WholeLevels(respaced, training, rounded && UseKarrasSigmas)
            : (timesteps, SigmaTable.Interpolate(timesteps.Select(t => (float)t), training));

    /// <summary>Given noise levels with their whole timesteps.</summary>
    private protected static (int[] Timesteps, double[] Sigmas) WholeLevels(double[] sigmas, float[] training, bool rounded)
    {
        IEnumerable<double> times = SigmaTable.ToTimesteps(sigmas, training);
        return (rounded ? TimestepTable.Rounded(times) : [.. times.Select(t => (int)t)], sigmas);
    }
}
