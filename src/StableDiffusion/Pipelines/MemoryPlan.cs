using StableDiffusion.Models.Unet;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// What a denoise loop and the phases around it will take, found before they start by running text encoder, UNet and auto-encoder in measure mode: the
/// peak of each phase's arena, the memory beside it, and the arithmetic of each phase.
/// </summary>
internal sealed record MemoryPlan
{
    /// <summary>The sizes.</summary>
    public required GenerationShape Shape { get; init; }

    /// <summary>UNet calls.</summary>
    public required int Calls { get; init; }

    /// <summary>Arena of the text encoders.</summary>
    public required Cost Text { get; init; }

    /// <summary>The share of the calls that is guided, see <see cref="GenerationRequest.GuidanceInterval"/>.</summary>
    public (double Start, double End)? GuidanceInterval { get; init; }

    /// <summary>How often a picture is encoded.</summary>
    public int Encodings { get; init; }

    /// <summary>Arena of the VAE's encoder, for one picture at a time.</summary>
    public Cost Encode { get; init; }

    /// <summary>The same, for one tile; arithmetic of all tiles.</summary>
    public Cost EncodeTile { get; init; }

    /// <summary>Whether the encoder works tile by tile.</summary>
    public bool TiledEncode { get; init; }

    /// <summary>Arena of the denoise loop; its arithmetic is that of what is computed once, before the first step.</summary>
    public required Cost Denoise { get; init; }

    /// <summary>Where ops are queued, all memory of a graph instance (0 elsewhere: the UNet works in the arena of the loop); arithmetic of one step.</summary>
    public required Cost Step { get; init; }

    /// <summary>As <see cref="Step"/>, for a call without guidance of a loop that has both.</summary>
    public Cost PromptStep { get; init; }

    /// <summary>Arena of the decoder, for one image at a time.</summary>
    public required Cost Decode { get; init; }

    /// <summary>The same, for one tile.</summary>
    public required Cost Tile { get; init; }

    /// <summary>Arena of the preview VAE, for one image at a time, beside the loop's; 0 where steps are not looked at or need none.</summary>
    public Cost Preview { get; init; }

    /// <summary>Whether the decoder works tile by tile.</summary>
    public bool Tiled { get; init; }

    /// <summary>Latents, model output and the scheduler's memory.</summary>
    public required long PersistentBytes { get; init; }

    /// <summary>All memory but the weights, which are loaded already.</summary>
    public long TotalBytes => PersistentBytes + Math.Max(Math.Max(Text.Bytes, EncodeBytes), Math.Max(LoopBytes, DecodeBytes));

    /// <summary>Arithmetic of all phases.</summary>
    public double TotalFlops => Text.Flops + EncodeFlops + LoopFlops + DecodeFlops;

    /// <summary>Arithmetic of encoding pictures.</summary>
    public double EncodeFlops => (double)Encodings * (TiledEncode ? EncodeTile : Encode).Flops;

    /// <summary>Arithmetic of the loop, with what is computed before its first step.</summary>
    public double LoopFlops => Denoise.Flops + Enumerable.Range(0, Calls).Sum(CostOf);

    /// <summary>Arithmetic of decoding.</summary>
    public double DecodeFlops => (double)Shape.Images * (Tiled ? Tile : Decode).Flops;

    /// <summary>Arena of the encoder as it will work.</summary>
    public long EncodeBytes => (TiledEncode ? EncodeTile : Encode).Bytes;

    private long LoopBytes => Denoise.Bytes + Math.Max(Step.Bytes, PromptStep.Bytes) + Preview.Bytes;

    private long DecodeBytes => (Tiled ? Tile : Decode).Bytes;

    /// <summary>Whether a call, counted from 0, is guided.</summary>
    public bool IsGuided(int index) => Shape.Guided && Guidance.IsOn(GuidanceInterval, index, Calls);

    /// <summary>Whether some calls of a guided loop are not guided.</summary>
    public bool SwitchesGuidance => Shape.Guided && Enumerable.Range(0, Calls).Any(index => !IsGuided(index));

    /// <summary>Arithmetic of a call.</summary>
    public double CostOf(int index) => (SwitchesGuidance && !IsGuided(index) ? PromptStep : Step).Flops;

    /// <summary>Memory of a new graph instance of that shape, the loop's or that of its calls without guidance.</summary>
    public long StepBytes(GenerationShape shape) => (shape == Shape ? Step : PromptStep).Bytes;

    /// <summary>Peak of an arena, and arithmetic.</summary>
    internal readonly record struct Cost(long Bytes, double Flops);

    /// <summary>Measures.</summary>
    /// <param name="parts">The model.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="calls">UNet calls.</param>
    /// <param name="encodes">Whether prompts are encoded in this generation.</param>
    /// <param name="decodes">Whether latents are decoded.</param>
    /// <param name="encodings">How often a picture is encoded.</param>
    /// <param name="interval">The share of the calls that is guided.</param>
    /// <param name="previews">Whether steps may be looked at, and so decoded by the preview VAE.</param>
    public static MemoryPlan Measure(PipelineComponents parts, GenerationShape shape, int calls, bool encodes, bool decodes,
        int encodings = 0, (double Start, double End)? interval = null, bool previews = false)
    {
        Device device = parts.Device;
        bool switches = shape.Guided && Enumerable.Range(0, calls).Any(index => !Guidance.IsOn(interval, index, calls));
        (Cost denoise, Cost step, Cost promptStep) = device.WorksBehindCalls ? MeasureGraph(parts, shape, calls, switches) : MeasureLoop(parts, shape, calls, switches);
        Cost decode = decodes ? MeasureDecode(parts, shape.Height, shape.Width) : default;
        Cost tile = decode;
        if (decodes && TiledDecoder.Divides(parts.Vae, shape.Height, shape.Width))
        {
            int side = TiledDecoder.TileLatents(parts.Vae);
            tile = MeasureDecode(parts, Math.Min(side, shape.Height), Math.Min(side, shape.Width));
            tile = tile with { Flops = tile.Flops * TiledDecoder.CountTiles(parts.Vae, shape.Height, shape.Width) };
        }
        Cost encode = encodings > 0 ? MeasureEncode(parts, shape.ImageHeight, shape.ImageWidth) : default, encodeTile = encode;
        if (encodings > 0 && TiledEncoder.Divides(shape.ImageHeight, shape.ImageWidth))
        {
            Cost[] tiles = [.. TiledEncoder.Tiles(shape.ImageHeight, shape.ImageWidth).Select(side => MeasureEncode(parts, side.Height, side.Width))];
            encodeTile = new Cost(tiles.Max(one => one.Bytes), tiles.Sum(one => one.Flops));
        }
        long cells = 4L * shape.Height * shape.Width, latent = cells * shape.Images * shape.Channels;
        return new MemoryPlan
        {
            Shape = shape,
            Calls = calls,
            Text = encodes ? Run(device, exec => parts.PromptEncoder.Measure(exec, shape.Guided ? 2 * shape.Prompts : shape.Prompts)) : default,
            Denoise = denoise,
            Step = step,
            Decode = decode,
            Tile = tile,
            Preview = previews ? MeasurePreview(parts, shape) : default,
            GuidanceInterval = interval,
            PromptStep = promptStep,
            Encodings = encodings,
            Encode = encode,
            EncodeTile = encodeTile,
            // Latents, model output, noise, up to six scheduler slots; channels beside the latents with the scaled
            // latents; the picture of which a part stays, its noise, both together and the mask.
            PersistentBytes = (9 * latent)
                + (shape.ExtraChannels > 0 ? (cells * shape.SampleBatch * shape.ExtraChannels) + latent : 0)
                + (shape.KeepsPart ? (3 * latent) + (cells * shape.Images) : 0),
        };
    }

    /// <summary>The plan, with encoder and decoder in tiles where it is asked for or they only so fit.</summary>
    /// <exception cref="OutOfDeviceMemoryException">It does not fit either way; names needed and free bytes.</exception>
    public MemoryPlan Fit(PipelineComponents parts, bool tiles)
    {
        // What idle graph instances hold is given back when it is needed, and rented ones come back.
        long free = parts.Device.Info.FreeBytes + parts.Graphs.Bytes;
        string what = $"Drawing {Shape.Images} image(s) of {Shape.ImageWidth}x{Shape.ImageHeight} on {parts.Device}";
        if (parts.MemoryLimitBytes is long limit && limit - parts.WeightBytes < free)
        {
            free = Math.Max(0, limit - parts.WeightBytes);
            what += $", beside {parts.WeightBytes / 1048576.0:N0} MB of weights under the memory limit of {limit / 1048576.0:N0} MB,";
        }
        MemoryPlan plan = this with
        {
            Tiled = Tile != Decode && (tiles || PersistentBytes + Decode.Bytes > free),
            TiledEncode = EncodeTile != Encode && (tiles || PersistentBytes + Encode.Bytes > free),
        };
        return plan.TotalBytes <= free
            ? plan
            : throw new OutOfDeviceMemoryException(what, plan.TotalBytes, free, "Draw fewer images at once or a smaller size, or free memory.");
    }

    /// <summary>The loop with the UNet in its arena, op by op.</summary>
    private static (Cost Denoise, Cost Step, Cost PromptStep) MeasureLoop(PipelineComponents parts, GenerationShape shape, int calls, bool switches)
    {
        double guided = 0, prompt = 0;
        Cost all = Run(parts.Device, exec =>
        {
            using UnetContext context = Conditioning.Empty(parts, shape).Prepare(exec, parts.Unet);
            guided = MeasureCall(exec, parts, shape, context, calls);
            if (switches)
            {
                prompt = MeasureCall(exec, parts, shape.PromptAlone, context.Slice(shape.PromptStart, shape.Images), calls);
            }
        });
        return (new Cost(all.Bytes, all.Flops - guided - prompt), new Cost(0, guided), new Cost(0, prompt));
    }

    /// <summary>A denoiser's schedule and one call, whose arithmetic it returns.</summary>
    private static double MeasureCall(Exec exec, PipelineComponents parts, GenerationShape shape, UnetContext context, int calls)
    {
        // In the order of the loop, so that the arena has its gaps where they will be.
        using UnetSchedule schedule = parts.Unet.PrepareSchedule(exec, new float[calls], context);
        using Tensor sample = exec.Alloc(parts.Unet.ActivationDType, shape.SampleBatch, shape.Height, shape.Width, shape.InputChannels);
        double before = exec.Stats.Flops;
        using Tensor prediction = parts.Unet.Forward(exec, sample, schedule[0], context);
        DenoiseLoop.MeasureStep(exec, shape, prediction);
        return exec.Stats.Flops - before;
    }

    /// <summary>The loop beside a graph instance, which has its own memory.</summary>
    private static (Cost Denoise, Cost Step, Cost PromptStep) MeasureGraph(PipelineComponents parts, GenerationShape shape, int calls, bool switches)
    {
        Cost step = default, promptStep = default;
        Cost loop = Run(parts.Device, exec =>
        {
            UnetContext context = Conditioning.Empty(parts, shape).Prepare(exec, parts.Unet);
            step = MeasureGraph(exec, parts, shape, context, calls, takesContext: !switches);
            if (switches)
            {
                promptStep = MeasureGraph(exec, parts, shape.PromptAlone, context.Slice(shape.PromptStart, shape.Images), calls, takesContext: false);
            }
        });
        return (loop, step, promptStep);
    }

    /// <summary>A denoiser's schedule and what a step calls beside the graph, in the loop's arena; the cost of the graph itself.</summary>
    private static Cost MeasureGraph(Exec exec, PipelineComponents parts, GenerationShape shape, UnetContext context, int calls, bool takesContext)
    {
        Cost step = UnetGraph.Measure(parts, shape, context);
        using UnetSchedule schedule = parts.Unet.PrepareSchedule(exec, new float[calls], context);
        if (takesContext)
        {
            context.Dispose();
        }
        using Tensor prediction = exec.Alloc(parts.Unet.ActivationDType, shape.UnetBatch, shape.Height, shape.Width, shape.Channels);
        DenoiseLoop.MeasureStep(exec, shape, prediction);
        return step;
    }

    private static Cost MeasureEncode(PipelineComponents parts, int height, int width) => Run(parts.Device, exec =>
    {
        using Tensor pixels = exec.Alloc(DType.Float32, 1, height, width, parts.Vae.Config.InChannels);
        using Tensor moments = parts.Vae.EncodeMoments(exec, pixels);
        exec.IsFinite(moments);
        exec.Converted(moments, DType.Float32).Dispose();
    });

    private static Cost MeasureDecode(PipelineComponents parts, int height, int width) => Run(parts.Device, exec =>
    {
        using Tensor z = exec.Alloc(DType.Float32, 1, height, width, parts.Vae.Config.LatentChannels);
        LatentDecoder.DecodePixels(exec, parts.Vae, z, decoded => exec.IsFinite(decoded)).Dispose();
    });

    private static Cost MeasurePreview(PipelineComponents parts, GenerationShape shape) => parts.PreviewVae is not { } tiny ? default : Run(parts.Device, exec =>
    {
        using Tensor z = exec.Alloc(DType.Float32, 1, shape.Height, shape.Width, shape.Channels);
        ComponentExtensions.DrawPixels(exec, tiny, z).Dispose();
    });

    private static Cost Run(Device device, Action<Exec> work)
    {
        using Exec exec = Exec.Measure(device);
        work(exec);
        return new Cost(exec.Stats.PeakBytes, exec.Stats.Flops);
    }
}
