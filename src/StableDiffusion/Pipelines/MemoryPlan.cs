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
/// What a generation will take, found before it starts by running text encoder, UNet and decoder in measure mode: the peak of the arena, the
/// memory beside it, and the arithmetic of each phase.
/// </summary>
internal sealed record MemoryPlan(GenerationShape Shape, long ArenaBytes, long PersistentBytes, double TotalFlops)
{
    /// <summary>Original size, crop corner and target size: what SDXL is conditioned on.</summary>
    private const int TimeIdCount = 6;

    /// <summary>Arena and persistent tensors; the weights are loaded already.</summary>
    public long TotalBytes => ArenaBytes + PersistentBytes;

    /// <summary>Measures.</summary>
    /// <param name="parts">The model.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="calls">UNet calls.</param>
    /// <param name="encodes">Whether prompts are encoded in this generation.</param>
    /// <param name="decodes">Whether latents are decoded.</param>
    public static MemoryPlan Measure(PipelineComponents parts, GenerationShape shape, int calls, bool encodes, bool decodes)
    {
        Cost text = encodes ? Run(parts.Device, exec => parts.PromptEncoder.Measure(exec, shape.Guided ? 2 * shape.Prompts : shape.Prompts)) : default;
        long prepareFlops = 0;
        Cost unet = Run(parts.Device, exec =>
        {
            UnetConfig config = parts.Unet.Config;
            FloatTensor? timeIds = parts.IsXl ? new FloatTensor(shape.UnetBatch, TimeIdCount) : null;
            FloatTensor? pooled = parts.IsXl
                ? new FloatTensor(shape.UnetBatch, config.ProjectionClassEmbeddingsInputDim - TimeIdCount * config.AdditionTimeEmbedDim)
                : null;
            using UnetContext context = Generation.PrepareContext(exec, parts.Unet,
                new FloatTensor(shape.UnetBatch, shape.Tokens, config.CrossAttentionDim[0]), pooled, timeIds);
            prepareFlops = exec.Stats.Flops;
            // The UNet's input and the latents lie outside the arena; here only their shape counts.
            using Tensor sample = exec.Alloc(DType.Float32, shape.UnetBatch, shape.Height, shape.Width, shape.Channels);
            parts.Unet.Forward(exec, sample, [0], context).Dispose();
        });
        Cost decode = decodes ? Run(parts.Device, exec =>
        {
            using Tensor z = exec.Alloc(DType.Float32, 1, shape.Height, shape.Width, shape.Channels);
            Generation.DecodePixels(exec, parts.Vae, z).Dispose();
        }) : default;
        long latent = 4L * shape.Images * shape.Height * shape.Width * shape.Channels;
        // Latents, model output, noise, up to six scheduler slots, and the model input.
        long persistent = 9 * latent + 4L * shape.UnetBatch * shape.Height * shape.Width * shape.Channels;
        long arena = Math.Max(text.Peak, Math.Max(unet.Peak, decode.Peak));
        double flops = text.Flops + prepareFlops + (double)calls * (unet.Flops - prepareFlops) + (double)shape.Images * decode.Flops;
        return new MemoryPlan(shape, arena, persistent, flops);
    }

    /// <summary>Throws if the plan does not fit now.</summary>
    /// <exception cref="OutOfDeviceMemoryException">Names needed and free bytes.</exception>
    public void RequireFits(PipelineComponents parts)
    {
        long free = parts.Device.Info.FreeBytes;
        string what = $"Drawing {Shape.Images} image(s) of {Shape.ImageWidth}x{Shape.ImageHeight} on {parts.Device}";
        if (parts.MemoryLimitBytes is long limit && limit - parts.WeightBytes < free)
        {
            free = Math.Max(0, limit - parts.WeightBytes);
            what += $", beside {parts.WeightBytes / 1048576.0:N0} MB of weights under the memory limit of {limit / 1048576.0:N0} MB,";
        }
        if (TotalBytes > free)
        {
            throw new OutOfDeviceMemoryException(what, TotalBytes, free, "Draw fewer images at once or a smaller size, or free memory.");
        }
    }

    private readonly record struct Cost(long Peak, long Flops);

    private static Cost Run(Device device, Action<Exec> work)
    {
        using Exec exec = Exec.Measure(device);
        work(exec);
        return new Cost(exec.Stats.PeakBytes, exec.Stats.Flops);
    }
}
