namespace StableDiffusion.Pipelines;

/// <summary>Where a denoise loop starts, on the host.</summary>
/// <param name="Latents">The first latents <c>[B,C,h,w]</c>.</param>
/// <param name="Extra">Channels that the UNet takes beside the latents: <c>[B,X,h,w]</c>, or for each part of its batch where they differ, <c>[parts*B,X,h,w]</c>.</param>
/// <param name="Kept">What is put back after each step.</param>
internal sealed record LoopStart(FloatTensor Latents, FloatTensor? Extra = null, KeptPart? Kept = null);

/// <summary>The part of a picture that stays.</summary>
/// <param name="Latents">Of the picture, <c>[B,C,h,w]</c>.</param>
/// <param name="Noise">That is added to them as far as the step wants.</param>
/// <param name="Mask"><c>[B,1,h,w]</c>: 1 is painted, 0 stays.</param>
internal sealed record KeptPart(FloatTensor Latents, FloatTensor Noise, FloatTensor Mask);

/// <summary>
/// What sets one task apart from another: what it needs, where its latents come from, which channels the UNet gets beside them, and what is put back
/// after a step. Everything else is the same for all tasks. The random numbers are drawn in the order of diffusers' pipelines.
/// </summary>
internal abstract class GenerationTask
{
    /// <summary>Channels beside the latents.</summary>
    public virtual int ExtraChannels => 0;

    /// <summary>Weight of the picture where guidance has three parts.</summary>
    public virtual double? ImageGuidanceScale => null;

    /// <summary>Whether a part of the picture is put back after each step.</summary>
    public virtual bool KeepsPart => false;

    /// <summary>The share of the schedule that is run; null: all of it.</summary>
    public virtual double? Strength => null;

    /// <summary>How often the VAE's encoder runs.</summary>
    public virtual int Encodings => 0;

    /// <summary>Makes the start of the loop.</summary>
    public abstract LoopStart Begin(TaskInputs inputs);

    /// <summary>The task that a model and a request make.</summary>
    /// <exception cref="ArgumentException">They do not fit; says what the model is and what would fit.</exception>
    /// <exception cref="NotSupportedException">A UNet that takes what is not known.</exception>
    public static GenerationTask For(PipelineComponents parts, GenerationRequest request)
    {
        int extra = parts.Unet.Config.InChannels - parts.Vae.Config.LatentChannels;
        bool latents = request.Image?.Latents is not null;
        Require(request.Depth is null || extra == DepthTask.Channels, "depth: this is no depth model (its UNet would take 5 channels); leave the depth map out");
        Require(request.ImageGuidanceScale is null || extra == InstructionTask.Channels(parts),
            "image guidance scale: it is for instruction models, whose UNet takes 8 channels; leave it out");
        Require(request.Hires is null || (extra == 0 && request.Mask is null), "hires: a second pass is for models of 4 channels, without a mask; leave it out");
        Require(parts.IsXl || (request.DenoisingEnd is null && request.DenoisingStart is null), "denoising start and end: they are for SDXL; use strength");
        Require(!parts.TakesAestheticScore || request.Image is not null, "image: this is a refiner, which goes on from an image or latents; give one");
        switch (extra)
        {
            case 0:
                return request.Image is null ? new TextToImageTask() : request.Mask is null ? new ImageToImageTask(parts, request) : new InpaintingTask(parts, request);
            case var _ when extra == InpaintingModelTask.Channels(parts):
                Require(request.Image is not null && request.Mask is not null,
                    "mask: this is a model for inpainting (its UNet takes 9 channels); give an image and a mask, or take a model of 4 channels");
                Require(!latents, "image: a model for inpainting looks at the pixels around the mask; give a picture, not latents");
                return new InpaintingModelTask(parts, request);
            case var _ when extra == InstructionTask.Channels(parts):
                Require(request.Image is not null, "image: this is a model for instructions (its UNet takes 8 channels); give the image to change");
                Require(request.Mask is null, "mask: a model for instructions takes none; leave it out, or take a model for inpainting");
                Require(request.Strength is null && request.DenoisingStart is null, "strength: a model for instructions begins with noise alone; use the image guidance scale");
                return new InstructionTask(parts, request);
            case DepthTask.Channels:
                Require(request.Image is not null && request.Depth is not null, "depth: this is a depth model (its UNet takes 5 channels); give an image and its depth map");
                Require(request.Mask is null, "mask: a depth model takes none; leave it out, or take a model for inpainting");
                return new DepthTask(parts, request);
            default:
                throw Unknown(parts);
        }
    }

    /// <summary>Refuses a UNet for which there is no task.</summary>
    /// <exception cref="NotSupportedException">It takes what is not known.</exception>
    public static void RequireKnown(PipelineComponents parts)
    {
        int extra = parts.Unet.Config.InChannels - parts.Vae.Config.LatentChannels;
        if (extra != 0 && extra != DepthTask.Channels && extra != InstructionTask.Channels(parts) && extra != InpaintingModelTask.Channels(parts))
        {
            throw Unknown(parts);
        }
    }

    private static NotSupportedException Unknown(PipelineComponents parts)
    {
        int latents = parts.Vae.Config.LatentChannels;
        return new NotSupportedException($"the UNet takes {parts.Unet.Config.InChannels} channels, the latents have {latents}: "
            + $"there are models of {latents} (text to image), {latents + 1} (depth), {2 * latents} (instructions) and {(2 * latents) + 1} channels (inpainting)");
    }

    /// <summary>Throws that sentence unless the condition holds.</summary>
    protected static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }
}

/// <summary>Starts with noise alone.</summary>
internal sealed class TextToImageTask : GenerationTask
{
    /// <inheritdoc />
    public override LoopStart Begin(TaskInputs inputs) => new(inputs.DrawNoise().Scale(inputs.Run.InitNoiseSigma));
}
