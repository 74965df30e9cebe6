namespace StableDiffusion.Schedulers;

/// <summary>
/// The schedule of one generation: its tables and, for every model call, the program of the step after it. It holds no tensors and
/// never changes; what a solver remembers from step to step lies in the slots of a <see cref="StepExecutor{T}"/>. The loop is
/// <code>
/// latents = noise * run.InitNoiseSigma
/// for call in run.FirstCall .. run.Timesteps.Count - 1:
///     output = model(latents * run.InputScale(call), run.Timesteps[call])
///     executor.Execute(run.Step(call), latents, output, noise if it draws)
/// </code>
/// Steps are executed in order, from <see cref="FirstCall"/> on.
/// </summary>
public abstract class SchedulerRun
{
    /// <summary>Sets up the tables.</summary>
    /// <exception cref="ArgumentException">The first call is not one of the timesteps.</exception>
    protected SchedulerRun(RunTables tables)
    {
        ArgumentNullException.ThrowIfNull(tables);
        if (tables.FirstCall < 0 || tables.FirstCall >= tables.Timesteps.Length)
        {
            throw new ArgumentException(
                $"The generation cannot begin at model call {tables.FirstCall}: the schedule has calls 0 to {tables.Timesteps.Length - 1}; choose one of them (a larger strength or more steps).");
        }
        Timesteps = tables.Timesteps;
        Sigmas = tables.Sigmas;
        AlphasCumprod = tables.AlphasCumprod;
        InitNoiseSigma = tables.InitNoiseSigma;
        FirstCall = tables.FirstCall;
    }

    /// <summary>The time handed to the model at each call, noisiest first. Includes the calls before <see cref="FirstCall"/>.</summary>
    public IReadOnlyList<float> Timesteps { get; }

    /// <summary>The noise level before each call, and the final one; empty for a scheduler that works on timesteps.</summary>
    public IReadOnlyList<float> Sigmas { get; }

    /// <summary>Share of signal in the variance per training timestep; empty for a scheduler without training timesteps.</summary>
    public IReadOnlyList<float> AlphasCumprod { get; }

    /// <summary>Standard deviation of the initial noise.</summary>
    public double InitNoiseSigma { get; }

    /// <summary>The first call of this generation: 0, or later for image-to-image.</summary>
    public int FirstCall { get; }

    /// <summary>What the sample is multiplied with before the model sees it. diffusers: <c>scale_model_input</c>.</summary>
    public virtual double InputScale(int call) => 1;

    /// <summary>The step after model call <paramref name="call"/>.</summary>
    public abstract StepProgram Step(int call);

    /// <summary>
    /// The forward process at a call: noisy = Signal * clean + Noise * noise has the noise level the model expects at
    /// <c>Timesteps[call]</c>. diffusers: <c>add_noise</c>.
    /// </summary>
    public abstract (double Signal, double Noise) AddNoise(int call);
}

/// <summary>The tables a <see cref="SchedulerRun"/> starts from; see its properties of the same names.</summary>
public sealed record RunTables
{
    /// <inheritdoc cref="SchedulerRun.Timesteps"/>
    public required float[] Timesteps { get; init; }

    /// <inheritdoc cref="SchedulerRun.Sigmas"/>
    public float[] Sigmas { get; init; } = [];

    /// <inheritdoc cref="SchedulerRun.AlphasCumprod"/>
    public float[] AlphasCumprod { get; init; } = [];

    /// <inheritdoc cref="SchedulerRun.InitNoiseSigma"/>
    public double InitNoiseSigma { get; init; } = 1;

    /// <inheritdoc cref="SchedulerRun.FirstCall"/>
    public int FirstCall { get; init; }
}
