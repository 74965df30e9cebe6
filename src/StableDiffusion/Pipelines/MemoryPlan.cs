using StableDiffusion.Models.Unet;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>The sizes of one generation.</summary>
internal sealed record GenerationShape(int Prompts, int Images, bool Guided, double GuidanceScale, int ImageHeight, int ImageWidth, int Height, int Width, int Channels, int Tokens)
{
    /// <summary>Entries per UNet call: twice the images with guidance.</summary>
    public int UnetBatch => Guided ? 2 * Images : Images;
}

/// <summary>
/// What a generation will take, found before it starts by running text encoder, UNet and decoder in measure mode: the peak of each phase's
/// arena, the memory beside it, and the arithmetic of each phase.
/// </summary>
internal sealed record MemoryPlan
{
    /// <summary>Original size, crop corner and target size: what SDXL is conditioned on.</summary>
    private const int TimeIdCount = 6;

    /// <summary>The sizes.</summary>
    public required GenerationShape Shape { get; init; }

    /// <summary>UNet calls.</summary>
    public required int Calls { get; init; }

    /// <summary>Arena of the text encoders.</summary>
    public required Cost Text { get; init; }

    /// <summary>Arena of the denoise loop; its arithmetic is that of what is computed once, before the first step.</summary>
    public required Cost Denoise { get; init; }

    /// <summary>Where ops are queued, all memory of a graph instance (0 elsewhere: the UNet works in the arena of the loop); arithmetic of one step.</summary>
    public required Cost Step { get; init; }

    /// <summary>Arena of the decoder, for one image at a time.</summary>
    public required Cost Decode { get; init; }

    /// <summary>The same, for one tile.</summary>
    public required Cost Tile { get; init; }

    /// <summary>Whether the decoder works tile by tile.</summary>
    public bool Tiled { get; init; }

    /// <summary>Latents, model output and the scheduler's memory.</summary>
    public required long PersistentBytes { get; init; }

    /// <summary>All memory but the weights, which are loaded already.</summary>
    public long TotalBytes => PersistentBytes + Math.Max(Text.Bytes, Math.Max(Denoise.Bytes + Step.Bytes, (Tiled ? Tile : Decode).Bytes));

    /// <summary>Arithmetic of all phases.</summary>
    public double TotalFlops => Text.Flops + Denoise.Flops + ((double)Calls * Step.Flops) + ((double)Shape.Images * (Tiled ? Tile : Decode).Flops);

    /// <summary>Peak of an arena, and arithmetic.</summary>
    internal readonly record struct Cost(long Bytes, double Flops);

    /// <summary>Measures.</summary>
    /// <param name="parts">The model.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="calls">UNet calls.</param>
    /// <param name="encodes">Whether prompts are encoded in this generation.</param>
    /// <param name="decodes">Whether latents are decoded.</param>
    public static MemoryPlan Measure(PipelineComponents parts, GenerationShape shape, int calls, bool encodes, bool decodes)
    {
        Device device = parts.Device;
        (Cost denoise, Cost step) = device.WorksBehindCalls ? MeasureGraph(parts, shape) : MeasureLoop(parts, shape);
        Cost decode = decodes ? MeasureDecode(parts, shape.Height, shape.Width) : default;
        Cost tile = decode;
        if (decodes && TiledDecoder.Divides(parts.Vae, shape.Height, shape.Width))
        {
            int side = TiledDecoder.TileLatents(parts.Vae);
            tile = MeasureDecode(parts, Math.Min(side, shape.Height), Math.Min(side, shape.Width));
            tile = tile with { Flops = tile.Flops * TiledDecoder.CountTiles(parts.Vae, shape.Height, shape.Width) };
        }
        long latent = 4L * shape.Images * shape.Height * shape.Width * shape.Channels;
        return new MemoryPlan
        {
            Shape = shape,
            Calls = calls,
            Text = encodes ? Run(device, exec => parts.PromptEncoder.Measure(exec, shape.Guided ? 2 * shape.Prompts : shape.Prompts)) : default,
            Denoise = denoise,
            Step = step,
            Decode = decode,
            Tile = tile,
            // Latents, model output, noise, up to six scheduler slots, the model input and the schedule.
            PersistentBytes = (9 * latent) + (4L * shape.UnetBatch * ((shape.Height * shape.Width * shape.Channels) + calls)),
        };
    }

    /// <summary>The plan, with the decoder in tiles where it is asked for or only so fits.</summary>
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
        MemoryPlan plan = this with { Tiled = Tile != Decode && (tiles || TotalBytes > free) };
        return plan.TotalBytes <= free
            ? plan
            : throw new OutOfDeviceMemoryException(what, plan.TotalBytes, free, "Draw fewer images at once or a smaller size, or free memory.");
    }

    /// <summary>The loop with the UNet in its arena, op by op.</summary>
    private static (Cost Denoise, Cost Step) MeasureLoop(PipelineComponents parts, GenerationShape shape)
    {
        double prepare = 0;
        Cost all = Run(parts.Device, exec =>
        {
            using UnetContext context = PrepareContext(exec, parts, shape);
            prepare = exec.Stats.Flops;
            // The UNet's input and the latents lie outside the arena; here only their shape counts.
            using Tensor sample = exec.Alloc(parts.Unet.ActivationDType, shape.UnetBatch, shape.Height, shape.Width, shape.Channels);
            using Tensor timesteps = exec.Alloc(DType.Float32, shape.UnetBatch);
            using Tensor prediction = parts.Unet.Forward(exec, sample, timesteps, context);
            Generation.MeasureStep(exec, shape, prediction);
        });
        return (new Cost(all.Bytes, prepare), new Cost(0, all.Flops - prepare));
    }

    /// <summary>The loop beside a graph instance, which has its own memory.</summary>
    private static (Cost Denoise, Cost Step) MeasureGraph(PipelineComponents parts, GenerationShape shape)
    {
        Cost step = default;
        Cost loop = Run(parts.Device, exec =>
        {
            using (UnetContext context = PrepareContext(exec, parts, shape))
            {
                step = UnetGraph.Measure(parts, shape, context);
            }
            using Tensor prediction = exec.Alloc(parts.Unet.ActivationDType, shape.UnetBatch, shape.Height, shape.Width, shape.Channels);
            Generation.MeasureStep(exec, shape, prediction);
        });
        return (loop, step);
    }

    private static Cost MeasureDecode(PipelineComponents parts, int height, int width) => Run(parts.Device, exec =>
    {
        using Tensor z = exec.Alloc(DType.Float32, 1, height, width, parts.Vae.Config.LatentChannels);
        Generation.DecodePixels(exec, parts.Vae, z, decoded => exec.IsFinite(decoded)).Dispose();
    });

    private static UnetContext PrepareContext(Exec exec, PipelineComponents parts, GenerationShape shape)
    {
        UnetConfig config = parts.Unet.Config;
        FloatTensor? timeIds = parts.IsXl ? new FloatTensor(shape.UnetBatch, TimeIdCount) : null;
        FloatTensor? pooled = parts.IsXl
            ? new FloatTensor(shape.UnetBatch, config.ProjectionClassEmbeddingsInputDim - (TimeIdCount * config.AdditionTimeEmbedDim))
            : null;
        return Generation.PrepareContext(exec, parts.Unet, new FloatTensor(shape.UnetBatch, shape.Tokens, config.CrossAttentionDim[0]), pooled, timeIds);
    }

    private static Cost Run(Device device, Action<Exec> work)
    {
        using Exec exec = Exec.Measure(device);
        work(exec);
        return new Cost(exec.Stats.PeakBytes, exec.Stats.Flops);
    }
}
