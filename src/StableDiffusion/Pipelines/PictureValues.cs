using StableDiffusion.Imaging;

namespace StableDiffusion.Pipelines;

/// <summary>Pictures as tensors of 0..1, as diffusers' VaeImageProcessor makes them: bytes divided by 255 in float32.</summary>
internal static class PictureValues
{
    /// <summary>Pictures of one size as <c>[B,3,H,W]</c>.</summary>
    public static FloatTensor Rgb(IReadOnlyList<RgbImage> pictures)
    {
        int height = pictures[0].Height, width = pictures[0].Width;
        var bytes = new float[pictures.Count * height * width * 3];
        for (int p = 0; p < pictures.Count; p++)
        {
            ReadOnlySpan<byte> pixels = pictures[p].Pixels;
            for (int i = 0; i < pixels.Length; i++)
            {
                bytes[(p * pixels.Length) + i] = pixels[i] / 255f;
            }
        }
        return FloatTensor.FromChannelsLast(bytes, pictures.Count, 3, height, width);
    }

    /// <summary>The luma of a picture as <c>[1,1,H,W]</c>.</summary>
    public static FloatTensor Luma(RgbImage picture) => new(Array.ConvertAll(picture.ToLuma(), value => value / 255f), 1, 1, picture.Height, picture.Width);

    /// <summary>Refuses values of another size than the generation's: only pictures are resized.</summary>
    public static FloatTensor RequireSize(string what, FloatTensor values, int height, int width) => (values[2], values[3]) == (height, width)
        ? values
        : throw new ArgumentException($"{what}: {values} is {values[3]}x{values[2]}, and values are not resized; this generation takes {width}x{height}");

    /// <summary>Refuses an empty list and pictures of different sizes.</summary>
    public static void RequireOneSize(string what, IReadOnlyList<RgbImage> pictures)
    {
        if (pictures.Count == 0)
        {
            throw new ArgumentException($"{what}: no picture was given");
        }
        RgbImage first = pictures[0];
        if (pictures.FirstOrDefault(other => (other.Width, other.Height) != (first.Width, first.Height)) is { } odd)
        {
            throw new ArgumentException($"{what}: pictures of {first.Width}x{first.Height} and {odd.Width}x{odd.Height} cannot be drawn as one batch; give them one size");
        }
    }
}
