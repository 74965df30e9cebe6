namespace StableDiffusion.Imaging;

/// <summary>The canvas for outpainting: inpainting of what lies around a picture.</summary>
public static class OutpaintCanvas
{
    /// <summary>
    /// A larger picture that shows the given one, its edge pixels continued outwards, and the mask of what is new: white there, black
    /// where the picture is. The continued edges give the inpainting something to start from.
    /// </summary>
    /// <param name="image">The picture.</param>
    /// <param name="left">Pixels added on the left, 0 or more.</param>
    /// <param name="top">Pixels added above, 0 or more.</param>
    /// <param name="right">Pixels added on the right, 0 or more.</param>
    /// <param name="bottom">Pixels added below, 0 or more.</param>
    /// <exception cref="ArgumentException">An amount is negative, all are 0, or the canvas would be too large.</exception>
    public static (RgbImage Image, RgbImage Mask) Extend(RgbImage image, int left, int top, int right, int bottom)
    {
        ArgumentNullException.ThrowIfNull(image);
        if (left < 0 || top < 0 || right < 0 || bottom < 0 || (left | top | right | bottom) == 0)
        {
            throw new ArgumentException($"A picture cannot be extended by {left}, {top}, {right} and {bottom} pixels: the amounts are 0 or more, and at least one is not 0.");
        }

        long longWidth = (long)left + image.Width + right;
        long longHeight = (long)top + image.Height + bottom;
        RgbImage.CheckSize(longWidth, longHeight);
        (int width, int height) = ((int)longWidth, (int)longHeight);
        byte[] canvas = new byte[width * height * 3];
        byte[] mask = new byte[canvas.Length];
        mask.AsSpan().Fill(255);
        for (int y = 0; y < height; y++)
        {
            int oldY = Math.Clamp(y - top, 0, image.Height - 1);
            ReadOnlySpan<byte> old = image.Pixels.Slice(oldY * image.Width * 3, image.Width * 3);
            Span<byte> row = canvas.AsSpan(y * width * 3, width * 3);
            old.CopyTo(row[(left * 3)..]);
            Repeat(old[..3], row[..(left * 3)]);
            Repeat(old[^3..], row[((left + image.Width) * 3)..]);
            if (y == top + oldY)
            {
                mask.AsSpan(((y * width) + left) * 3, old.Length).Clear();
            }
        }

        return (new RgbImage(width, height, canvas), new RgbImage(width, height, mask));
    }

    private static void Repeat(ReadOnlySpan<byte> pixel, Span<byte> row)
    {
        for (int x = 0; x < row.Length; x += pixel.Length)
        {
            pixel.CopyTo(row[x..]);
        }
    }
}
