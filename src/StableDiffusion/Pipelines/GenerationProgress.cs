namespace StableDiffusion.Pipelines;

/// <summary>The phases of one generation, in order.</summary>
public enum GenerationPhase
{
    /// <summary>Prompts to embeddings.</summary>
    TextEncoding,
    /// <summary>A picture to latents; not in a generation from text alone.</summary>
    Encoding,
    /// <summary>The denoise loop; a second time in a hires pass.</summary>
    Denoising,
    /// <summary>Latents to pixels.</summary>
    Decoding,
}

/// <summary>Where a generation stands. Reported on the generating thread, several times within a long step.</summary>
/// <param name="Phase">What is being done.</param>
/// <param name="Step">Denoise steps finished (UNet evaluations; second-order schedulers and PNDM take more than were asked).</param>
/// <param name="Steps">Denoise steps in all.</param>
/// <param name="Fraction">Share of the whole generation's arithmetic done, 0..1.</param>
/// <param name="Elapsed">Since the generation began.</param>
/// <param name="StepTime">Mean time of the finished denoise steps; zero before the first is finished.</param>
public readonly record struct GenerationProgress(GenerationPhase Phase, int Step, int Steps, double Fraction, TimeSpan Elapsed, TimeSpan StepTime);

/// <summary>What one denoise step left behind: diffusers' callback_on_step_end. Valid only during the call.</summary>
public sealed class GenerationStep
{
    private readonly Func<FloatTensor> _latents;
    private readonly Func<FloatTensor> _modelOutput;

    internal GenerationStep(int index, float timestep, Func<FloatTensor> latents, Func<FloatTensor> modelOutput) =>
        (Index, Timestep, _latents, _modelOutput) = (index, timestep, latents, modelOutput);

    /// <summary>0-based; -1 before the first step, when <see cref="Latents"/> are the initial ones.</summary>
    public int Index { get; }

    /// <summary>The timestep the UNet was given; before the first step, the first.</summary>
    public float Timestep { get; }

    /// <summary>A copy of the latents after the step, <c>[B,4,H/8,W/8]</c>, before the division by scaling_factor.</summary>
    public FloatTensor Latents => _latents();

    /// <summary>A copy of the guided model output that the scheduler was given, of the latents' shape.</summary>
    /// <exception cref="InvalidOperationException">Before the first step.</exception>
    public FloatTensor ModelOutput => _modelOutput();
}
