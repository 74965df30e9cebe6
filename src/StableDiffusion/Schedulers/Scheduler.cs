using System.Text.Json;
using System.Text.Json.Serialization;

namespace StableDiffusion.Schedulers;

/// <summary>
/// Base of the schedulers that come with the library: an immutable record whose properties are the keys of diffusers'
/// <c>scheduler_config.json</c>, with the defaults of the class there (version 0.40).
/// </summary>
public abstract record Scheduler : IScheduler
{
    const int MaxTrainTimesteps = 1_000_000;

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
        if (start.Timesteps is { } timesteps && !(Descends(timesteps) && timesteps[0] < NumTrainTimesteps && timesteps[^1] >= 0))
        {
            throw new ArgumentException($"Timesteps must descend and lie in 0 to {NumTrainTimesteps - 1}, those the model was trained with.");
        }
        if (start.Sigmas is { } sigmas && !(Descends(sigmas) && double.IsFinite(sigmas[0]) && sigmas[^1] >= 0))
        {
            throw new ArgumentException("Sigmas must descend, from a finite one to 0 or above.");
        }
        if (start.Eta is < 0 or > 1 or double.NaN)
        {
            throw new ArgumentException($"Eta is {start.Eta}; it must be 0 to 1.");
        }
        SchedulerRun run = Start(steps, start);
        for (int call = run.FirstCall; call < run.Timesteps.Count; call++)
        {
            if (!run.Step(call).IsFinite)
            {
                throw new ArgumentException(
                    $"{Name} cannot take this schedule of {steps} steps: noise levels coincide near timestep {run.Timesteps[call]}; take fewer steps or another spacing.");
            }
        }
        return run;
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

    static bool Descends(IReadOnlyList<double> values) => Enumerable.Range(1, values.Count - 1).All(i => values[i] < values[i - 1]);

    /// <summary>Whether the schedule may be given as timesteps.</summary>
    private protected virtual bool TakesTimesteps => false;

    /// <summary>Whether the schedule may be given as noise levels.</summary>
    private protected virtual bool TakesSigmas => false;

    /// <summary>What in this config is not supported, as a sentence; null when all of it is.</summary>
    internal virtual string? Problem() => NumTrainTimesteps is < 2 or > MaxTrainTimesteps
        ? $"num_train_timesteps is {NumTrainTimesteps}; it must be 2 to {MaxTrainTimesteps}."
        : null;

    /// <summary>Lays out a schedule; the arguments are checked already.</summary>
    private protected abstract SchedulerRun Start(int steps, SchedulerStart start);
}
