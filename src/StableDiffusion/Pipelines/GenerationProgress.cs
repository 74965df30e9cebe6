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
