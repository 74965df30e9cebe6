namespace StableDiffusion.Imaging;

/// <summary>The three resize modes, as diffusers' VaeImageProcessor does them with Pillow; always with the Lanczos filter.</summary>
internal static class Reshaper
{
    /// <summary>A picture of the size asked for.</summary>
    public static RgbImage Reshape(RgbImage image, int width, int height, ResizeMode mode)
    {
        if (mode == ResizeMode.Stretch)
        {
            return image.Resize(width, height);
        }

        double shape = (double)width / height;
        double oldShape = (double)image.Width / image.Height;
        bool byWidth = mode == ResizeMode.Crop ? shape > oldShape : shape < oldShape;
        int scaledWidth = byWidth ? width : Scaled(image.Width, height, image.Height);
        int scaledHeight = byWidth ? Scaled(image.Height, width, image.Width) : height;

        using RgbImage scaled = image.Resize(scaledWidth, scaledHeight);
        int left = (width / 2) - (scaledWidth / 2);
        int top = (height / 2) - (scaledHeight / 2);
        byte[] canvas = new byte[width * height * 3];
        Paste(canvas, width, height, scaled.Pixels, scaledWidth, scaledHeight, left, top);
        if (mode == ResizeMode.Fill && top > 0 && byWidth)
        {
            Paste(canvas, width, height, EdgeRows(scaled, 0, top), width, top, 0, 0);
            Paste(canvas, width, height, EdgeRows(scaled, scaledHeight, top), width, top, 0, top + scaledHeight);
        }
        else if (mode == ResizeMode.Fill && left > 0 && shape > oldShape)
        {
            Paste(canvas, width, height, EdgeColumns(scaled, 0, left), left, height, 0, 0);
            Paste(canvas, width, height, EdgeColumns(scaled, scaledWidth, left), left, height, left + scaledWidth, 0);
        }

        return new RgbImage(width, height, canvas);
    }

    // A very long picture would have no pixel left on its short side.
    private static int Scaled(int side, int target, int other) => (int)Math.Clamp((long)side * target / other, 1, RgbImage.MaxSide);

    // Pillow's resize of a box without height: every new row is what its default filter finds at the edge.
    private static byte[] EdgeRows(RgbImage image, int edge, int count)
        => Resampler.Columns(image.Pixels, image.Width * 3, new ResampleWeights(ResampleFilter.Bicubic, image.Height, edge, edge, count));

    private static byte[] EdgeColumns(RgbImage image, int edge, int count)
        => Resampler.Rows(image.Pixels, image.Width, 3, new ResampleWeights(ResampleFilter.Bicubic, image.Width, edge, edge, count));

    // What would lie outside the canvas is left out.
    private static void Paste(Span<byte> canvas, int width, int height, ReadOnlySpan<byte> picture, int pictureWidth, int pictureHeight, int left, int top)
    {
        int firstX = Math.Max(left, 0);
        int count = Math.Min(left + pictureWidth, width) - firstX;
        for (int y = Math.Max(top, 0); y < Math.Min(top + pictureHeight, height) && count > 0; y++)
        {
            picture.Slice((((y - top) * pictureWidth) + firstX - left) * 3, count * 3).CopyTo(canvas[(((y * width) + firstX) * 3)..]);
        }
    }
}
