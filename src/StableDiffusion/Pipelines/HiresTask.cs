namespace StableDiffusion.Pipelines;

/// <summary>The second pass: the first one's latents, enlarged, with noise of the same generators, from a later step on. See <see cref="HiresPass"/>.</summary>
internal sealed class HiresTask(HiresPass pass) : GenerationTask
{
    /// <summary>The first pass's latents, to be set when it is done.</summary>
    public FloatTensor? Latents { get; set; }

    /// <inheritdoc />
    public override double? Strength => pass.Strength;

    /// <inheritdoc />
    public override LoopStart Begin(TaskInputs inputs)
    {
        FloatTensor enlarged = Interpolation.Resize(Latents!, inputs.Shape.Height, inputs.Shape.Width, pass.Upscale);
        FloatTensor noise = inputs.Noise.Draw(inputs.Shape.Images, inputs.Shape.Channels, inputs.Shape.Height, inputs.Shape.Width);
        return new LoopStart(inputs.AddNoise(enlarged, noise));
    }
}
