namespace StableDiffusion.Pipelines;

/// <summary>
/// Inpainting with any model: after each step, what is outside the mask is put back with the noise that the next step expects. As diffusers'
/// StableDiffusionInpaintPipeline and its SDXL counterpart with a UNet of 4 channels.
/// </summary>
internal class InpaintingTask(PipelineComponents parts, GenerationRequest request) : GenerationTask
{
    private readonly SourceImage _image = request.Image!;

    /// <inheritdoc />
    public override bool KeepsPart => true;

    /// <inheritdoc />
    public override double? Strength => request.Strength ?? (parts.IsXl ? 0.9999 : 1);

    /// <inheritdoc />
    public override int Encodings => _image.Latents is null ? _image.Count : 0;

    /// <summary>Whether the picture's latents are not needed for the start: it is noise alone.</summary>
    protected bool StartsWithNoise => Strength == 1 && request.DenoisingStart is null;

    /// <inheritdoc />
    public override LoopStart Begin(TaskInputs inputs)
    {
        (FloatTensor latents, FloatTensor noise, FloatTensor? image) = Start(inputs, needsImage: true);
        FloatTensor mask = Mask(inputs);
        if (_image.Latents is null)
        {
            // diffusers also encodes the picture without what is painted, which this kind of model has no use for; its draw counts.
            inputs.Noise.Draw(Math.Max(_image.Count, mask[0]), inputs.Shape.Channels, inputs.Shape.Height, inputs.Shape.Width);
        }
        return new LoopStart(latents, Kept: new KeptPart(image!, noise, inputs.ForEachImage(ToLatentSize(mask, inputs.Shape))));
    }

    /// <summary>The first latents and the noise in them; with the picture's latents where they are needed.</summary>
    protected (FloatTensor Latents, FloatTensor Noise, FloatTensor? Image) Start(TaskInputs inputs, bool needsImage)
    {
        FloatTensor? image = _image.Latents ?? (needsImage || !StartsWithNoise ? inputs.Encoder!.Sample(inputs.Pixels(), _image.Count) : null);
        image = image is null ? null : inputs.ForEachImage(image);
        FloatTensor noise = inputs.DrawNoise();
        FloatTensor latents = request.DenoisingStart is not null ? image!
            : StartsWithNoise ? noise.Scale(inputs.Run.InitNoiseSigma)
            : inputs.AddNoise(image!, noise);
        return (latents, noise, image);
    }

    /// <summary>The mask in pixels, <c>[M,1,H,W]</c>.</summary>
    protected FloatTensor Mask(TaskInputs inputs) => request.Mask!.ToBinary(inputs.Shape.ImageHeight, inputs.Shape.ImageWidth, _image.ResizeMode);

    /// <summary>The mask at the size of the latents, <c>[M,1,h,w]</c>.</summary>
    protected static FloatTensor ToLatentSize(FloatTensor mask, GenerationShape shape) => Interpolation.Resize(mask, shape.Height, shape.Width, LatentUpscale.Nearest);
}

/// <summary>
/// Inpainting with a model that was trained for it: the UNet also sees the mask and the latents of the picture without what is painted. As diffusers'
/// pipelines with a UNet of 9 channels.
/// </summary>
internal sealed class InpaintingModelTask(PipelineComponents parts, GenerationRequest request) : InpaintingTask(parts, request)
{
    private readonly PipelineComponents _parts = parts;
    private readonly SourceImage _image = request.Image!;
    private readonly MaskImage _mask = request.Mask!;

    /// <summary>The mask and a picture's latents.</summary>
    public static int Channels(PipelineComponents parts) => 1 + parts.Vae.Config.LatentChannels;

    /// <inheritdoc />
    public override bool KeepsPart => false;

    /// <inheritdoc />
    public override int ExtraChannels => Channels(_parts);

    /// <inheritdoc />
    public override int Encodings => Math.Max(_image.Count, _mask.Count) + (StartsWithNoise ? 0 : _image.Count);

    /// <inheritdoc />
    public override LoopStart Begin(TaskInputs inputs)
    {
        (FloatTensor latents, _, _) = Start(inputs, needsImage: false);
        FloatTensor mask = Mask(inputs), masked = Without(inputs.Pixels(), mask);
        FloatTensor maskedLatents = inputs.ForEachImage(inputs.Encoder!.Sample(masked, masked[0]));
        FloatTensor extra = FloatTensor.JoinChannels(inputs.ForEachImage(ToLatentSize(mask, inputs.Shape)), maskedLatents);
        return new LoopStart(latents, extra);
    }

    /// <summary>Pixels <c>[P,3,H,W]</c> with 0, a middle grey, where the mask <c>[M,1,H,W]</c> is 1.</summary>
    private static FloatTensor Without(FloatTensor pixels, FloatTensor mask)
    {
        int count = Math.Max(pixels[0], mask[0]), plane = pixels[2] * pixels[3];
        FloatTensor result = pixels.Repeat(count / pixels[0]).Scale(1);
        for (int i = 0; i < result.Values.Length; i++)
        {
            int entry = i / (3 * plane) % mask[0];
            if (mask.Values[(entry * plane) + (i % plane)] >= 0.5f)
            {
                result.Values[i] = 0;
            }
        }
        return result;
    }
}
