using System.Security.Cryptography;
using StableDiffusion.Imaging;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Text to image, image to image, inpainting, instructions and depth with Stable Diffusion 1.x, 2.x and SDXL. Thread-safe: any number of generations may run at once, each with its own memory.
/// <code>
/// using var pipe = StableDiffusionPipeline.Load("models/shapes", Device.Auto);
/// using var image = pipe.Generate(new("a red circle on a blue background") { Steps = 25, Seed = 1024 });
/// image.Save("circle.png");
/// </code>
/// </summary>
public sealed class StableDiffusionPipeline : IDisposable
{
    private readonly bool _ownsParts;
    private bool _disposed;

    /// <summary>A pipeline over parts that are shared: disposing it leaves them alone.</summary>
    public StableDiffusionPipeline(PipelineComponents components) : this(components, ownsParts: false) { }

    private StableDiffusionPipeline(PipelineComponents components, bool ownsParts)
    {
        // SDXL's refiner has only the second text encoder, the one with a projection.
        bool encodersFit = components.IsXl ? components.TextEncoders.Count > 1 || components.TextEncoders is [{ Config.WithProjection: true }] : components.TextEncoders.Count == 1;
        if (!encodersFit || components.Tokenizers.Count != components.TextEncoders.Count)
        {
            throw new ArgumentException($"a UNet {(components.IsXl ? "with" : "without")} added text conditions does not go with {components.TextEncoders.Count} text encoder(s) and {components.Tokenizers.Count} tokenizer(s)");
        }
        int width = components.TextEncoders.Sum(encoder => encoder.Config.HiddenSize);
        if (components.Unet.Config.CrossAttentionDim.Any(taken => taken != width))
        {
            throw new ArgumentException($"the text encoders give {width} channels, the UNet's cross-attention takes {components.Unet.Config.CrossAttentionDim[0]}");
        }
        GenerationTask.RequireKnown(components);
        CheckPreview(components);
        (Components, _ownsParts) = (components, ownsParts);
    }

    /// <summary>The parts, for a loop of one's own or another pipeline.</summary>
    public PipelineComponents Components { get; }

    /// <summary>Loads a model: a folder in the diffusers layout, or a single file (.safetensors, .ckpt).</summary>
    /// <param name="path">The folder or file; a relative one is looked for against the current directory, then beside the library, where the demo model
    /// <c>models/shapes</c> is.</param>
    /// <param name="device">Where it runs.</param>
    /// <param name="options">How weights are stored, and limits.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="IOException">Files missing or damaged; the text names file and tensor.</exception>
    /// <exception cref="NotSupportedException">A model of another family.</exception>
    /// <exception cref="OutOfDeviceMemoryException">The weights do not fit.</exception>
    public static StableDiffusionPipeline Load(string path, Device device, LoadOptions? options = null, CancellationToken cancellation = default) =>
        Owning(PipelineComponents.Load(path, device, options, cancellation));

    /// <summary>Draws.</summary>
    /// <param name="request">What and how.</param>
    /// <param name="progress">Told where the generation stands, on this thread.</param>
    /// <param name="cancellation">Stops within a second; the pipeline stays usable.</param>
    /// <returns>Images, latents, seeds; dispose it.</returns>
    /// <exception cref="ArgumentException">An option that cannot be; names it, its value and what would fit.</exception>
    /// <exception cref="OutOfDeviceMemoryException">It would not fit; noticed before any work.</exception>
    /// <exception cref="GenerationOutOfMemoryException">Others took the memory before the decoder; it has the latents.</exception>
    /// <exception cref="DeviceFaultException">The device failed; the text says in which phase.</exception>
    /// <exception cref="NonFiniteException">Latents or pixels became NaN or infinite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public GenerationResult Generate(GenerationRequest request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellation = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(request);
        request.Validate(Components.VaeScale);
        cancellation.ThrowIfCancellationRequested();
        IReadOnlyList<GenerationPass> passes = new GenerationPlanner(Components).Plan(request);
        MemoryPlan first = passes[0].Plan, last = passes[^1].Plan;
        IReadOnlyList<ulong> seeds = request.Seeds ?? [request.Seed ?? BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(4))];

        var meter = new ProgressMeter(progress, [.. passes.Select(pass => pass.Plan)], queued: Components.Device.WorksBehindCalls);
        var generation = new Generation(Components, request, seeds, meter, cancellation);
        PromptEmbeddings embeddings = request.Embeddings ?? generation.Encode(first, exec => Encode(exec, request, first.Shape.Guided));
        PromptEmbeddings perImage = Repeat(embeddings, request.ImagesPerPrompt);
        FloatTensor latents = generation.Denoise(passes[0], perImage);
        if (passes is [_, { Task: HiresTask hires } second])
        {
            hires.Latents = latents;
            latents = generation.Denoise(second, perImage);
        }
        IReadOnlyList<RgbImage> images = request.LatentsOnly ? [] : generation.Decode(last, latents);
        meter.Done();
        return new GenerationResult(images, latents, seeds, RequestDescription.Of(Components, request, passes, seeds),
            [.. embeddings.Warnings, .. generation.Warnings], meter.Elapsed, meter.StepTime);
    }

    /// <summary>Draws on a thread of the pool; see <see cref="Generate"/>.</summary>
    public Task<GenerationResult> GenerateAsync(GenerationRequest request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellation = default) =>
        Task.Factory.StartNew(() => Generate(request, progress, cancellation), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>Runs the text encoders only: embeddings that can be given to many requests.</summary>
    /// <param name="request">Its prompts, negative prompts, guidance scale and clip skip are used.</param>
    /// <param name="cancellation">Stops it.</param>
    public PromptEmbeddings EncodePrompt(GenerationRequest request, CancellationToken cancellation = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        request.Validate(Components.VaeScale);
        bool guided = new GenerationPlanner(Components).ShapeOf(request, GenerationTask.For(Components, request)).Guided;
        long peak;
        using (Exec measuring = Exec.Measure(Components.Device))
        {
            Components.PromptEncoder.Measure(measuring, request.Prompts.Count);
            peak = measuring.Stats.PeakBytes;
        }
        using Exec exec = Exec.Create(Components.Device, peak);
        exec.Cancellation = cancellation;
        return Encode(exec, request, guided);
    }

    private static void CheckPreview(PipelineComponents components)
    {
        if (components.PreviewVae is not { } preview)
        {
            return;
        }
        if (!preview.HasDecoder)
        {
            throw new ArgumentException("the preview VAE has no decoder: give the decoder's file (taesd_decoder), not the encoder's");
        }
        (int channels, int side) = (components.Vae.Config.LatentChannels, components.VaeScale);
        if (preview.Config.LatentChannels != channels || preview.Config.ScaleFactor != side)
        {
            throw new ArgumentException($"the preview VAE decodes latents of {preview.Config.LatentChannels} channels, each {preview.Config.ScaleFactor} pixels wide, "
                + $"but this model's have {channels} and are {side} wide");
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (!_disposed && _ownsParts)
        {
            Components.DisposeParts();
        }
        _disposed = true;
    }

    /// <summary>A pipeline that disposes its parts, also when they do not fit together.</summary>
    private static StableDiffusionPipeline Owning(PipelineComponents components)
    {
        try
        {
            return new StableDiffusionPipeline(components, ownsParts: true);
        }
        catch
        {
            components.DisposeParts();
            throw;
        }
    }

    private PromptEmbeddings Encode(Exec exec, GenerationRequest request, bool guided)
    {
        int count = request.Prompts.Count;
        bool two = Components.TextEncoders.Count > 1;
        IReadOnlyList<string>[] prompts = two ? [request.Prompts, request.Prompts2 ?? request.Prompts] : [request.Prompts];
        IReadOnlyList<string>?[]? negatives = !guided ? null
            : two ? [Spread(request.NegativePrompts, count), Spread(request.NegativePrompts2 ?? request.NegativePrompts, count)]
            : [Spread(request.NegativePrompts, count)];
        return Components.PromptEncoder.Encode(exec, prompts, negatives, request.ClipSkip);
    }

    private static IReadOnlyList<string>? Spread(IReadOnlyList<string>? texts, int count) =>
        texts is [string one] && count > 1 ? [.. Enumerable.Repeat(one, count)] : texts;

    /// <summary>One entry per image: each prompt's, so many times.</summary>
    private static PromptEmbeddings Repeat(PromptEmbeddings embeddings, int times)
    {
        FloatTensor? Each(FloatTensor? tensor) => tensor is null || times == 1
            ? tensor
            : FloatTensor.Concat([.. Enumerable.Range(0, tensor[0] * times).Select(i => tensor.Slice(i / times, 1))]);
        return embeddings with
        {
            Prompt = Each(embeddings.Prompt)!,
            Negative = Each(embeddings.Negative),
            Pooled = Each(embeddings.Pooled),
            NegativePooled = Each(embeddings.NegativePooled),
        };
    }
}
