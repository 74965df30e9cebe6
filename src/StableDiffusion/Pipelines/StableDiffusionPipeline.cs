using System.Globalization;
using System.Security.Cryptography;
using StableDiffusion.Imaging;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Text to image with Stable Diffusion 1.x, 2.x and SDXL. Thread-safe: any number of generations may run at once, each with its own memory.
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
        if (components.IsXl != components.TextEncoders.Count > 1 || components.Tokenizers.Count != components.TextEncoders.Count)
        {
            throw new ArgumentException($"a UNet {(components.IsXl ? "with" : "without")} added text conditions does not go with {components.TextEncoders.Count} text encoder(s) and {components.Tokenizers.Count} tokenizer(s)");
        }
        int width = components.TextEncoders.Sum(encoder => encoder.Config.HiddenSize);
        if (components.Unet.Config.CrossAttentionDim.Any(taken => taken != width))
        {
            throw new ArgumentException($"the text encoders give {width} channels, the UNet's cross-attention takes {components.Unet.Config.CrossAttentionDim[0]}");
        }
        if (components.Unet.Config.InChannels != components.Vae.Config.LatentChannels)
        {
            throw new NotSupportedException(
                $"the UNet takes {components.Unet.Config.InChannels} channels, the latents have {components.Vae.Config.LatentChannels}: a model for inpainting, depth or instructions cannot draw from text alone");
        }
        (Components, _ownsParts) = (components, ownsParts);
    }

    /// <summary>The parts, for a loop of one's own or another pipeline.</summary>
    public PipelineComponents Components { get; }

    /// <summary>Loads a model folder in the diffusers layout.</summary>
    /// <param name="path">The folder; a relative one is looked for against the current directory, then beside the library, where the demo model
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
        GenerationShape shape = ShapeOf(request);
        CheckGiven(request, shape);
        IReadOnlyList<ulong> seeds = request.Seeds ?? [request.Seed ?? BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(4))];
        IScheduler scheduler = request.Scheduler ?? Components.Scheduler;
        SchedulerRun run = scheduler.Begin(request.Steps, new SchedulerStart { Eta = request.Eta });
        MemoryPlan plan = MemoryPlan.Measure(Components, shape, run.Timesteps.Count - run.FirstCall, request.Embeddings is null, !request.LatentsOnly)
            .Fit(Components, request.VaeTiling);

        var meter = new ProgressMeter(progress, plan, queued: Components.Device.WorksBehindCalls);
        using var generation = new Generation(Components, request, plan, new NoiseSource(seeds, request.NoiseGpu), meter, cancellation);
        PromptEmbeddings embeddings = request.Embeddings ?? generation.Encode(exec => Encode(exec, request, shape.Guided));
        FloatTensor latents = generation.Denoise(Repeat(embeddings, request.ImagesPerPrompt), run);
        IReadOnlyList<RgbImage> images = request.LatentsOnly ? [] : generation.Decode(latents);
        meter.Done();
        return new GenerationResult(images, latents, seeds, Describe(request, shape, scheduler, seeds), [.. embeddings.Warnings, .. generation.Warnings],
            meter.Elapsed, meter.StepTime);
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
        bool guided = ShapeOf(request).Guided;
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

    private GenerationShape ShapeOf(GenerationRequest request)
    {
        int scale = Components.VaeScale;
        (int Height, int Width) trained = Components.Unet.Config.SampleSize ?? (64, 64);
        int height = request.Height ?? trained.Height * scale, width = request.Width ?? trained.Width * scale;
        int prompts = request.Embeddings?.Count ?? request.Prompts.Count;
        double guidance = request.GuidanceScale ?? (Components.IsXl ? 5.0 : 7.5);
        return new GenerationShape(prompts, prompts * request.ImagesPerPrompt, guidance > 1, guidance, height, width,
            height / scale, width / scale, Components.Vae.Config.LatentChannels, request.Embeddings?.Prompt[1] ?? Components.PromptEncoder.Tokens);
    }

    /// <summary>Latents and embeddings that were given must have the sizes of this request and this model.</summary>
    private void CheckGiven(GenerationRequest request, GenerationShape shape)
    {
        int[] expected = [shape.Images, shape.Channels, shape.Height, shape.Width];
        if (request.Latents is { } latents && !latents.Shape.SequenceEqual(expected))
        {
            throw new ArgumentException($"latents: {latents} do not fit; {shape.Images} image(s) of {shape.ImageWidth}x{shape.ImageHeight} take [{string.Join(",", expected)}]");
        }
        if (request.Embeddings is not { } given)
        {
            return;
        }
        int[] context = [shape.Prompts, shape.Tokens, Components.Unet.Config.CrossAttentionDim[0]];
        foreach ((string name, FloatTensor? tensor, bool needed) in new[] { ("prompt", given.Prompt, true), ("negative prompt", given.Negative, shape.Guided) })
        {
            if ((needed && tensor is null) || (tensor is not null && !tensor.Shape.SequenceEqual(context)))
            {
                throw new ArgumentException($"embeddings: the {name}'s are {tensor?.ToString() ?? "missing"}; this model takes [{string.Join(",", context)}]");
            }
        }
        if (Components.IsXl && (given.Pooled is null || (shape.Guided && given.NegativePooled is null)))
        {
            throw new ArgumentException("embeddings: an SDXL model also needs the pooled embeddings, and the negative pooled ones with guidance");
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

    private GenerationParameters[] Describe(GenerationRequest request, GenerationShape shape, IScheduler scheduler, IReadOnlyList<ulong> seeds)
    {
        var described = new GenerationParameters[shape.Images];
        (string sampler, string? scheduleType) = SchedulerCatalog.WebName(scheduler);
        for (int i = 0; i < described.Length; i++)
        {
            int prompt = i / request.ImagesPerPrompt;
            described[i] = new GenerationParameters
            {
                Prompt = request.Prompts.ElementAtOrDefault(prompt) ?? "",
                NegativePrompt = request.NegativePrompts is { } negatives ? negatives[negatives.Count == 1 ? 0 : prompt] : "",
                Steps = request.Steps,
                Sampler = sampler,
                ScheduleType = scheduleType,
                CfgScale = shape.GuidanceScale,
                Seed = seeds[seeds.Count == 1 ? 0 : i],
                Width = shape.ImageWidth,
                Height = shape.ImageHeight,
                Model = Components.Name,
                Other = [.. Others(request, i, described.Length, seeds.Count)],
            };
        }
        return described;
    }

    /// <summary>Settings beyond the common ones, as far as they differ from the defaults, by the web UIs' names where they have one.</summary>
    private static IEnumerable<KeyValuePair<string, string>> Others(GenerationRequest request, int image, int images, int seeds)
    {
        static KeyValuePair<string, string> Setting(string name, IFormattable value) => new(name, value.ToString(null, CultureInfo.InvariantCulture));
        if (request.ClipSkip > 0)
        {
            yield return Setting("Clip skip", request.ClipSkip + 1);
        }
        if (request.Eta > 0)
        {
            yield return Setting("Eta", request.Eta);
        }
        if (request.GuidanceRescale > 0)
        {
            yield return Setting("CFG Rescale", request.GuidanceRescale);
        }
        if (images > 1 && seeds == 1)
        {
            // One generator drew the whole batch: the seed alone reproduces it only as part of such a batch.
            yield return Setting("Batch size", images);
            yield return Setting("Batch pos", image);
        }
        yield return new("RNG", request.NoiseGpu is null ? "CPU" : "GPU");
    }
}
