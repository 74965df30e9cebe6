using System.Collections.Immutable;
using StableDiffusion.Imaging;

namespace StableDiffusion.Pipelines;

/// <summary>
/// The linear approximation of a decoder: the colour of a latent cell, as one matrix times its channels. Enough to see where a picture is going,
/// and costs nothing; for more, load a preview VAE (<see cref="LoadOptions.PreviewVae"/>).
/// </summary>
/// <param name="Factors">Red, green and blue per unit of each latent channel, for colours in -1..1.</param>
/// <param name="Bias">Red, green and blue of a latent of zeros.</param>
internal sealed record LatentRgb(ImmutableArray<(double R, double G, double B)> Factors, (double R, double G, double B) Bias = default)
{
    // SD 1.x and 2.x: found by users of Stable Diffusion on the Hugging Face forum (discuss.huggingface.co/t/23204, keturn), refitted for 1.5 by
    // torridgristle; the numbers are those of InvokeAI (github.com/invoke-ai/InvokeAI, step callback).
    private static readonly LatentRgb StableDiffusion = new(
        [(0.3444, 0.1385, 0.0670), (0.1247, 0.4027, 0.1494), (-0.3192, 0.2513, 0.2103), (-0.1307, -0.1874, -0.7445)]);

    // SDXL: by StAlKeR7779, from the same place.
    private static readonly LatentRgb StableDiffusionXl = new(
        [(0.3816, 0.4930, 0.5320), (-0.3753, 0.1631, 0.1739), (0.1770, 0.3588, -0.2048), (-0.4350, -0.2644, -0.4289)]);

    // The demo model: least squares over 256 of its training pictures, models/shapes/training/fit_preview.py.
    private static readonly LatentRgb Shapes = new(
        [(0.6041, 0.0508, -0.0433), (0.0565, 0.3969, 0.0837), (-0.0422, 0.0665, 0.6084), (0.0043, -0.0021, 0.0133)], (0.1181, 0.0667, 0.0332));

    /// <summary>
    /// That of the latents with a scaling factor, which tells the families apart: 0.13025 is SDXL's, 0.53892 the demo model's; any other is taken
    /// for a Stable Diffusion 1.x or 2.x.
    /// </summary>
    public static LatentRgb Of(double scalingFactor) => scalingFactor switch
    {
        0.13025 => StableDiffusionXl,
        0.53892 => Shapes,
        _ => StableDiffusion,
    };

    /// <summary>Latents <c>[B,4,h,w]</c> to one picture each, every cell a square of <paramref name="scale"/> pixels.</summary>
    /// <exception cref="NotSupportedException">The latents do not have 4 channels.</exception>
    public IReadOnlyList<RgbImage> Draw(FloatTensor latents, int scale)
    {
        if (latents[1] != Factors.Length)
        {
            throw new NotSupportedException(
                $"A preview of latents with {latents[1]} channels has no linear approximation, which is known for {Factors.Length}; load a preview VAE.");
        }
        return [.. Enumerable.Range(0, latents[0]).Select(i => Draw(latents.Slice(i, 1).Values, latents[2], latents[3], scale))];
    }

    private RgbImage Draw(float[] latent, int height, int width, int scale)
    {
        int cells = height * width, row = 3 * width * scale;
        var pixels = new byte[row * height * scale];
        for (int cell = 0; cell < cells; cell++)
        {
            (double r, double g, double b) = Bias;
            for (int channel = 0; channel < Factors.Length; channel++)
            {
                double value = latent[(channel * cells) + cell];
                r += value * Factors[channel].R;
                g += value * Factors[channel].G;
                b += value * Factors[channel].B;
            }
            ReadOnlySpan<byte> colour = [ToByte(r), ToByte(g), ToByte(b)];
            for (int x = 0; x < scale; x++)
            {
                colour.CopyTo(pixels.AsSpan((cell / width * scale * row) + (((cell % width * scale) + x) * 3)));
            }
        }
        for (int y = 0; y < height; y++)
        {
            Span<byte> first = pixels.AsSpan(y * scale * row, row);
            for (int i = 1; i < scale; i++)
            {
                first.CopyTo(pixels.AsSpan(((y * scale) + i) * row));
            }
        }
        return new RgbImage(width * scale, height * scale, pixels);
    }

    private static byte ToByte(double colour) => (byte)Math.Round(255 * Math.Clamp((colour / 2) + 0.5, 0, 1));
}
