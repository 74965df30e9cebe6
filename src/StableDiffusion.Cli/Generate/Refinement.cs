using StableDiffusion.Imaging;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>The second model of SDXL, which draws the last part of the steps from the first one's latents and decodes with the first one's VAE.</summary>
internal sealed class Refinement : IDisposable
{
    private readonly PipelineComponents _parts;
    private readonly StableDiffusionPipeline _pipeline;

    private Refinement(PipelineComponents parts, PipelineComponents @base) =>
        (_parts, _pipeline) = (parts, new StableDiffusionPipeline(parts with { Vae = @base.Vae, PreviewVae = @base.PreviewVae }));

    /// <summary>The model's name.</summary>
    internal string Name => _parts.Name;

    /// <summary>Loads the refiner. Its VAE is let go: the latents are those of the base model.</summary>
    internal static Refinement Load(string model, PipelineComponents @base, LoadOptions options, CancellationToken cancellation)
    {
        PipelineComponents loaded = PipelineComponents.Load(model, @base.Device, options, cancellation);
        try
        {
            var refinement = new Refinement(loaded, @base);
            loaded.Vae.Dispose();
            return refinement;
        }
        catch
        {
            loaded.DisposeParts();
            throw;
        }
    }

    /// <summary>Draws with both models.</summary>
    /// <param name="base">The base model.</param>
    /// <param name="request">The whole of what to draw.</param>
    /// <param name="job">Where to hand over.</param>
    /// <param name="progress">Told how far both are.</param>
    /// <param name="cancellation">Ends the work between steps.</param>
    /// <returns>The refiner's pictures with the base model's parameters.</returns>
    internal (GenerationResult Result, IReadOnlyList<GenerationParameters> Parameters) Generate(
        StableDiffusionPipeline @base, GenerationRequest request, GenerateJob job, IProgress<GenerationProgress> progress, CancellationToken cancellation)
    {
        (GenerationRequest first, Func<FloatTensor, GenerationRequest> second) = job.Split(request, _parts.Scheduler);
        using GenerationResult latents = @base.Generate(first, new Share(progress, 0, job.RefinerStart), cancellation);
        return (_pipeline.Generate(second(latents.Latents), new Share(progress, job.RefinerStart, 1), cancellation), latents.Parameters);
    }

    /// <summary>Lets go of what it does not share.</summary>
    public void Dispose()
    {
        _pipeline.Dispose();
        _parts.DisposeParts();
    }

    /// <summary>A part of a longer progress.</summary>
    private sealed class Share(IProgress<GenerationProgress> whole, double from, double to) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) => whole.Report(value with { Fraction = from + (value.Fraction * (to - from)) });
    }
}
