using StableDiffusion.Imaging;
using StableDiffusion.Native;
using StableDiffusion.Random;

namespace StableDiffusion.Pipelines;

/// <summary>A denoise loop that is planned: its task, the part of the schedule, sizes and memory.</summary>
internal sealed record GenerationPass(GenerationTask Task, ScheduleSpan Span, MemoryPlan Plan);

/// <summary>One generation, from prompts to pixels: the phases, one after another. Everything mutable of a generation lives here and below.</summary>
/// <param name="parts">The model.</param>
/// <param name="request">What was asked for.</param>
/// <param name="seeds">One for the batch, or one per image.</param>
/// <param name="meter">Told where it stands.</param>
/// <param name="cancellation">Stops it.</param>
internal sealed class Generation(PipelineComponents parts, GenerationRequest request, IReadOnlyList<ulong> seeds, ProgressMeter meter, CancellationToken cancellation)
{
    private readonly GenerationScope _scope = new(parts, meter, cancellation);
    private readonly NoiseSource _noise = new(seeds, request.NoiseGpu);
    private int _steps;

    // The web UIs' rule: the images of a batch have consecutive second seeds.
    private readonly NoiseSource? _variation = request.Variation is { } variation
        ? new NoiseSource([.. seeds.Select((_, i) => variation.Seed + (ulong)i)], request.NoiseGpu)
        : null;

    /// <summary>What the user should know, one sentence each.</summary>
    public IReadOnlyList<string> Warnings => _scope.Warnings;

    /// <summary>Runs the text encoders, by a function that is given an exec for them.</summary>
    public PromptEmbeddings Encode(MemoryPlan plan, Func<Exec, PromptEmbeddings> encode)
    {
        meter.Begin(GenerationPhase.TextEncoding);
        _scope.Where = "text encoding";
        return _scope.NamingFaults(() =>
        {
            using Exec exec = _scope.NewExec(plan.Text.Bytes);
            return encode(exec);
        });
    }

    /// <summary>Encodes what pictures the task has, then runs the denoise loop.</summary>
    /// <param name="pass">What is planned.</param>
    /// <param name="embeddings">Of one entry per image.</param>
    /// <returns>The final latents <c>[B,C,h,w]</c>.</returns>
    public FloatTensor Denoise(GenerationPass pass, PromptEmbeddings embeddings)
    {
        LoopStart start = Begin(pass);
        using var loop = new DenoiseLoop(_scope, request, pass.Plan, pass.Span, _noise);
        FloatTensor latents = loop.Run(Conditioning.Of(parts, request, pass.Plan.Shape, embeddings), start, _steps);
        _steps += pass.Span.Calls;
        return latents;
    }

    /// <summary>Decodes latents <c>[B,C,h,w]</c>.</summary>
    /// <exception cref="GenerationOutOfMemoryException">The memory that was planned for is gone; it has the latents.</exception>
    public IReadOnlyList<RgbImage> Decode(MemoryPlan plan, FloatTensor latents) => new LatentDecoder(_scope, plan, request.VaeTiling).Decode(latents);

    private LoopStart Begin(GenerationPass pass)
    {
        MemoryPlan plan = pass.Plan;
        TaskInputs Inputs(LatentEncoder? encoder) => new(request, plan.Shape, pass.Span.Run, _noise, _variation, encoder);
        if (pass.Task.Encodings == 0)
        {
            return pass.Task.Begin(Inputs(null));
        }
        meter.Begin(GenerationPhase.Encoding);
        if (plan.TiledEncode)
        {
            _scope.Warn(request.VaeTiling
                ? "The image was encoded in overlapping tiles, as asked for; its latents differ a little from those of one piece."
                : "The encoder did not fit into memory in one piece, so the image was encoded in overlapping tiles; its latents differ a little.");
        }
        _scope.Where = "encoding the image";
        return _scope.NamingFaults(() =>
        {
            using Exec exec = _scope.NewExec(plan.EncodeBytes);
            return pass.Task.Begin(Inputs(new LatentEncoder(_scope, exec, _noise, plan.TiledEncode)));
        });
    }
}
