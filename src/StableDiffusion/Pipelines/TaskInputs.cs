using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>What a task makes its start from.</summary>
/// <param name="Request">What was asked for.</param>
/// <param name="Shape">Sizes.</param>
/// <param name="Run">The schedule.</param>
/// <param name="Noise">The draws of the generation.</param>
/// <param name="VariationNoise">Those of the second seed, where there is one.</param>
/// <param name="Encoder">The VAE's encoder; null for a task without.</param>
internal sealed record TaskInputs(GenerationRequest Request, GenerationShape Shape, SchedulerRun Run, NoiseSource Noise, NoiseSource? VariationNoise, LatentEncoder? Encoder)
{
    /// <summary>The noise of all images, of unit variance: given, or drawn.</summary>
    public FloatTensor DrawNoise()
    {
        if (Request.Latents is { } given)
        {
            return given;
        }
        FloatTensor noise = Draw(Noise);
        return VariationNoise is null ? noise : Request.Variation!.Between(noise, Draw(VariationNoise));
    }

    /// <summary>Latents with as much noise as the first step expects. diffusers: add_noise.</summary>
    public FloatTensor AddNoise(FloatTensor latents, FloatTensor noise)
    {
        (double ofLatents, double ofNoise) = Run.AddNoise(Run.FirstCall);
        return latents.Plus(ofLatents, noise, ofNoise);
    }

    /// <summary>One entry per image, where there is one for all.</summary>
    public FloatTensor ForEachImage(FloatTensor values) => values.Repeat(Shape.Images / values[0]);

    /// <summary>The picture's pixels <c>[P,3,H,W]</c> in -1..1.</summary>
    public FloatTensor Pixels() => Request.Image!.ToPixels(Shape.ImageHeight, Shape.ImageWidth);

    private FloatTensor Draw(NoiseSource source) => source.Draw(Shape.Images, Shape.Channels, Shape.Height, Shape.Width);
}
