using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>Turns a request into passes before any work: sizes, the part of the schedule, memory. Refuses what cannot be done.</summary>
internal sealed class GenerationPlanner(PipelineComponents parts)
{
    /// <summary>The loops of a generation: one, or two with a hires pass.</summary>
    /// <exception cref="ArgumentException">The request does not fit the model; names the option and what would fit.</exception>
    /// <exception cref="StableDiffusion.Native.OutOfDeviceMemoryException">It does not fit into memory.</exception>
    public IReadOnlyList<GenerationPass> Plan(GenerationRequest request)
    {
        IScheduler scheduler = request.Scheduler ?? parts.Scheduler;
        var start = new SchedulerStart { Eta = request.Eta, Timesteps = request.Timesteps, Sigmas = request.Sigmas };
        GenerationTask task = GenerationTask.For(parts, request);
        GenerationShape shape = ShapeOf(request, task);
        CheckGiven(request, shape);
        double? strength = task.Strength;
        if (strength is double share && scheduler is ConsistencyScheduler && parts.Unet.Config.TimeCondProjDim is not null)
        {
            // As diffusers' LatentConsistencyModelImg2ImgPipeline: all steps, on a part of the schedule.
            (start, strength) = (start with { OriginalShare = share }, null);
        }
        ScheduleSpan span = ScheduleSpan.Of(scheduler, request.Steps, start, strength, request.DenoisingStart, request.DenoisingEnd);
        bool text = request.Embeddings is null, pixels = !request.LatentsOnly;
        if (request.Hires is not { } hires)
        {
            return [Fit(request, task, span, shape, text, pixels)];
        }
        (int height, int width) = hires.SizeFor(shape.ImageHeight, shape.ImageWidth, parts.VaeScale);
        Require(height <= 16384 && width <= 16384, $"hires scale: {width}x{height} is more than 16384 pixels");
        var second = new HiresTask(hires);
        SchedulerStart secondStart = start with { OriginalShare = null };
        secondStart = hires.Steps is null ? secondStart : secondStart with { Timesteps = null, Sigmas = null };
        ScheduleSpan secondSpan = ScheduleSpan.Of(scheduler, hires.Steps ?? request.Steps, secondStart, second.Strength);
        GenerationShape larger = shape with { ImageHeight = height, ImageWidth = width, Height = height / parts.VaeScale, Width = width / parts.VaeScale };
        return [Fit(request, task, span, shape, text, pixels: false), Fit(request, second, secondSpan, larger, text: false, pixels)];
    }

    /// <summary>The sizes of a request.</summary>
    public GenerationShape ShapeOf(GenerationRequest request, GenerationTask task)
    {
        int scale = parts.VaeScale;
        (int height, int width) = SizeOf(request);
        int prompts = request.Embeddings?.Count ?? request.Prompts.Count;
        double guidance = parts.GuidanceScaleOf(request);
        // A guidance-distilled model is told the scale and sees the prompt alone; instructions take both scales or none.
        bool guided = guidance > 1 && parts.Unet.Config.TimeCondProjDim is null && task.ImageGuidanceScale is null or >= 1;
        return new GenerationShape(prompts, prompts * request.ImagesPerPrompt, guided, guidance, height, width,
            height / scale, width / scale, parts.Vae.Config.LatentChannels, request.Embeddings?.Prompt[1] ?? parts.PromptEncoder.Tokens)
        {
            ExtraChannels = task.ExtraChannels,
            ImageGuidanceScale = task.ImageGuidanceScale,
            KeepsPart = task.KeepsPart,
        };
    }

    private GenerationPass Fit(GenerationRequest request, GenerationTask task, ScheduleSpan span, GenerationShape shape, bool text, bool pixels)
    {
        MemoryPlan plan = MemoryPlan.Measure(parts, shape, span.Calls, text, pixels, task.Encodings, request.GuidanceInterval, request.StepEnd is not null);
        return new GenerationPass(task, span, plan.Fit(parts, request.VaeTiling));
    }

    /// <summary>Given, or the picture's rounded down, or that which the model was trained at.</summary>
    private (int Height, int Width) SizeOf(GenerationRequest request)
    {
        int scale = parts.VaeScale;
        (int Height, int Width) trained = parts.Unet.Config.SampleSize ?? (64, 64);
        (int Height, int Width) size = (trained.Height * scale, trained.Width * scale);
        if (request.Image is { } image)
        {
            (int Height, int Width) own = image.Size(scale);
            size = (own.Height / scale * scale, own.Width / scale * scale);
            Require((size.Height > 0 && size.Width > 0) || (request.Height is not null && request.Width is not null),
                $"image: {own.Width}x{own.Height} is less than {scale} pixels on a side; give a larger one, or width and height");
        }
        return (request.Height ?? size.Height, request.Width ?? size.Width);
    }

    /// <summary>Tensors and pictures that were given must have the sizes of this request and this model.</summary>
    private void CheckGiven(GenerationRequest request, GenerationShape shape)
    {
        int[] expected = [shape.Images, shape.Channels, shape.Height, shape.Width];
        string drawn = $"{shape.Images} image(s) of {shape.ImageWidth}x{shape.ImageHeight}";
        Require(request.Latents is not { } latents || latents.Shape.SequenceEqual(expected), $"latents: {request.Latents} do not fit; {drawn} take [{string.Join(",", expected)}]");
        Require(request.Image?.Latents is not { } source || source.Shape.Skip(1).SequenceEqual(expected[1..]),
            $"image: latents {request.Image?.Latents} do not fit; {drawn} take [1 or {string.Join(",", expected)}]");
        foreach ((string name, int? count) in new[] { ("image", request.Image?.Count), ("mask", request.Mask?.Count), ("depth", request.Depth?.Count) })
        {
            Require(count is null || shape.Images % count == 0, $"{name}: {count} were given for {shape.Images} images; give one, or one per image");
        }
        if (request.Image is { } image && request.Mask is { } mask)
        {
            (int Height, int Width) size = image.Size(parts.VaeScale);
            Require(mask.Size == size, $"mask: it is {mask.Size.Width}x{mask.Size.Height}, the image {size.Width}x{size.Height}; give a mask of the image's size");
        }
        if (request.Embeddings is { } given)
        {
            CheckEmbeddings(given, shape);
        }
    }

    private void CheckEmbeddings(PromptEmbeddings given, GenerationShape shape)
    {
        int[] context = [shape.Prompts, shape.Tokens, parts.Unet.Config.CrossAttentionDim[0]];
        foreach ((string name, FloatTensor? tensor, bool needed) in new[] { ("prompt", given.Prompt, true), ("negative prompt", given.Negative, shape.Guided) })
        {
            Require((!needed || tensor is not null) && (tensor is null || tensor.Shape.SequenceEqual(context)),
                $"embeddings: the {name}'s are {tensor?.ToString() ?? "missing"}; this model takes [{string.Join(",", context)}]");
        }
        Require(!parts.IsXl || (given.Pooled is not null && (!shape.Guided || given.NegativePooled is not null)),
            "embeddings: an SDXL model also needs the pooled embeddings, and the negative pooled ones with guidance");
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }
}
