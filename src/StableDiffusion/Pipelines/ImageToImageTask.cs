namespace StableDiffusion.Pipelines;

/// <summary>
/// Image to image (SDEdit, arXiv 2108.01073): the picture's latents with noise, from a later step on. As diffusers' StableDiffusionImg2ImgPipeline and its
/// SDXL counterpart, which also goes on from another model's latents without adding noise.
/// </summary>
internal class ImageToImageTask(PipelineComponents parts, GenerationRequest request) : GenerationTask
{
    private readonly SourceImage _image = request.Image!;

    /// <inheritdoc />
    public override double? Strength => request.Strength ?? (parts.IsXl ? 0.3 : 0.8);

    /// <inheritdoc />
    public override int Encodings => _image.Latents is null ? _image.Count : 0;

    /// <inheritdoc />
    public override LoopStart Begin(TaskInputs inputs)
    {
        // Of one picture for a batch: one sample from one generator, but one per image from a generator each.
        FloatTensor latents = inputs.ForEachImage(_image.Latents
            ?? inputs.Encoder!.Sample(inputs.Pixels(), inputs.Noise.IsPerImage ? inputs.Shape.Images : _image.Count));
        return new LoopStart(request.DenoisingStart is null ? inputs.AddNoise(latents, inputs.DrawNoise()) : latents);
    }
}

/// <summary>Image to image with a model that also sees how far away things are. As diffusers' StableDiffusionDepth2ImgPipeline, with the depth map given.</summary>
internal sealed class DepthTask(PipelineComponents parts, GenerationRequest request) : ImageToImageTask(parts, request)
{
    /// <summary>The depth.</summary>
    public const int Channels = 1;

    private readonly GenerationRequest _request = request;

    /// <inheritdoc />
    public override int ExtraChannels => Channels;

    /// <inheritdoc />
    public override LoopStart Begin(TaskInputs inputs)
    {
        FloatTensor depth = inputs.ForEachImage(_request.Depth!.ToLatentSize(inputs.Shape.Height, inputs.Shape.Width));
        return base.Begin(inputs) with { Extra = depth };
    }
}
