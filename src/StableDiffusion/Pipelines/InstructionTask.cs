namespace StableDiffusion.Pipelines;

/// <summary>
/// Changing a picture as a sentence says (InstructPix2Pix, arXiv 2211.09800): from noise alone, with the picture's latents as channels, which the last of
/// the three parts does not see. As diffusers' StableDiffusionInstructPix2PixPipeline and its SDXL counterpart.
/// </summary>
internal sealed class InstructionTask(PipelineComponents parts, GenerationRequest request) : GenerationTask
{
    private readonly SourceImage _image = request.Image!;

    /// <summary>A picture's latents.</summary>
    public static int Channels(PipelineComponents parts) => parts.Vae.Config.LatentChannels;

    /// <inheritdoc />
    public override int ExtraChannels => Channels(parts);

    /// <inheritdoc />
    public override double? ImageGuidanceScale => request.ImageGuidanceScale ?? 1.5;

    /// <inheritdoc />
    public override int Encodings => _image.Latents is null ? _image.Count : 0;

    /// <inheritdoc />
    public override LoopStart Begin(TaskInputs inputs)
    {
        // These models were trained on latents that are not multiplied by scaling_factor; CosXL's are.
        double scaling = parts.Vae.Config.ScalingFactor;
        FloatTensor latents = _image.Latents is { } given
            ? given.Scale(parts.IsCosXlEdit ? 1 : 1 / scaling)
            : inputs.Encoder!.Mode(inputs.Pixels()).Scale(parts.IsCosXlEdit ? scaling : 1);
        latents = inputs.ForEachImage(latents);
        FloatTensor extra = inputs.Shape.Guided ? FloatTensor.Concat(latents, latents, latents.Scale(0)) : latents;
        return new LoopStart(inputs.DrawNoise().Scale(inputs.Run.InitNoiseSigma), extra);
    }
}
