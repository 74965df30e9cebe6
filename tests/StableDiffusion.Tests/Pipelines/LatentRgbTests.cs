using StableDiffusion.Imaging;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>The linear approximation of decoders.</summary>
public sealed class LatentRgbTests
{
    [Test]
    public void Draw_TwoCells_AreSquaresOfTheirColours()
    {
        // Of the SDXL factors: channel 0 alone gives (0.3816, 0.4930, 0.5320) in -1..1, that is 255 * (c / 2 + 1/2) = 176, 190, 195; zeros give 127.5.
        RgbImage image = LatentRgb.Of(0.13025).Draw(new FloatTensor([0, 1, 0, 0, 0, 0, 0, 0], 1, 4, 1, 2), 2)[0];
        byte[] row = [128, 128, 128, 128, 128, 128, 176, 190, 195, 176, 190, 195];
        Assert.That((image.Width, image.Height), Is.EqualTo((4, 2)));
        Assert.That(image.Pixels.ToArray(), Is.EqualTo(row.Concat(row)));
    }

    [Test]
    public void Draw_OtherChannels_AdvisesAPreviewVae() => Assert.That(
        () => LatentRgb.Of(1).Draw(new FloatTensor(1, 16, 2, 2), 8), Throws.TypeOf<NotSupportedException>().With.Message.Contains("16 channels").And.Message.Contains("preview VAE"));

    [Test]
    public void Preview_DemoModel_IsItsPictureInMosaic()
    {
        // The fit leaves 0.069 of a range of 2 (fit_preview.py), 8.7 of 255. Guidance pushes the latents beyond those of the fit, where the decoder
        // saturates and a line does not: an eighth of the range in all, 32, when a uniform grey is off by 72.
        using StableDiffusionPipeline pipeline = StableDiffusionPipeline.Load(ModelFolder.BuiltIn, Device.Auto);
        RgbImage? preview = null;
        using GenerationResult result = pipeline.Generate(new("a red circle on a blue background")
        {
            Steps = 8,
            Seed = 1024,
            StepEnd = step => preview = step.Index == 7 ? step.Preview()[0] : null,
        });
        ReadOnlySpan<byte> seen = preview!.Pixels, drawn = result.Images[0].Pixels;
        double squares = 0;
        const int Side = 128, Cell = 8, Cells = Side / Cell;
        for (int i = 0; i < Cells * Cells * 3; i++)
        {
            int first = (((i / 3 / Cells * Side) + (i / 3 % Cells)) * Cell * 3) + (i % 3);
            double mean = 0;
            for (int j = 0; j < Cell * Cell; j++)
            {
                mean += drawn[first + (((j / Cell * Side) + (j % Cell)) * 3)] / (double)(Cell * Cell);
            }
            squares += (mean - seen[first]) * (mean - seen[first]) / (Cells * Cells * 3);
        }
        TestContext.Out.WriteLine($"{Math.Sqrt(squares):F2} of 255");
        Assert.That(Math.Sqrt(squares), Is.LessThan(32));
    }
}
