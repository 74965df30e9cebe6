namespace StableDiffusion.Imaging;

/// <summary>
/// Pictures of another size, bit-exact with Pillow's <c>Image.resize</c> for 8-bit channels: first all rows, then all columns, each a
/// weighted sum in fixed point rounded to 8 bits; an axis that keeps its size is left alone. Pixels are packed row by row.
/// </summary>
internal static class Resampler
{
    private const int Half = 1 << (ResampleWeights.Precision - 1);

    /// <summary>Resizes a whole picture.</summary>
    /// <param name="pixels">height * width * channels bytes.</param>
    /// <param name="width">Pixels per row.</param>
    /// <param name="height">Rows.</param>
    /// <param name="channels">Bytes per pixel: 3 for RGB, 1 for grey.</param>
    /// <param name="newWidth">Pixels per row of the result, 1 or more.</param>
    /// <param name="newHeight">Rows of the result, 1 or more.</param>
    /// <param name="filter">How pixels between pixels are found.</param>
    public static byte[] Resize(ReadOnlySpan<byte> pixels, int width, int height, int channels, int newWidth, int newHeight, ResampleFilter filter)
    {
        if (filter == ResampleFilter.Nearest)
        {
            return Nearest(pixels, width, height, channels, newWidth, newHeight);
        }

        ReadOnlySpan<byte> rows = newWidth == width ? pixels : Rows(pixels, width, channels, new ResampleWeights(filter, width, 0, width, newWidth));
        return newHeight == height ? rows.ToArray() : Columns(rows, newWidth * channels, new ResampleWeights(filter, height, 0, height, newHeight));
    }

    /// <summary>Resizes along the rows.</summary>
    /// <param name="pixels">Rows of width * channels bytes.</param>
    /// <param name="width">Pixels per row.</param>
    /// <param name="channels">Bytes per pixel.</param>
    /// <param name="weights">What the pixels of a new row are made of.</param>
    public static byte[] Rows(ReadOnlySpan<byte> pixels, int width, int channels, ResampleWeights weights)
    {
        int height = pixels.Length / (width * channels);
        byte[] result = new byte[height * weights.Count * channels];
        int at = 0;
        for (int y = 0; y < height; y++)
        {
            ReadOnlySpan<byte> row = pixels.Slice(y * width * channels, width * channels);
            for (int x = 0; x < weights.Count; x++)
            {
                ReadOnlySpan<int> run = weights.Of(x);
                for (int c = 0; c < channels; c++)
                {
                    int sum = Half;
                    int from = (weights.First(x) * channels) + c;
                    foreach (int weight in run)
                    {
                        sum += row[from] * weight;
                        from += channels;
                    }

                    result[at++] = Round(sum);
                }
            }
        }

        return result;
    }

    /// <summary>Resizes along the columns.</summary>
    /// <param name="pixels">Rows of stride bytes.</param>
    /// <param name="stride">Bytes per row.</param>
    /// <param name="weights">What the pixels of a new column are made of.</param>
    public static byte[] Columns(ReadOnlySpan<byte> pixels, int stride, ResampleWeights weights)
    {
        byte[] result = new byte[weights.Count * stride];
        int[] sums = new int[stride];
        for (int y = 0; y < weights.Count; y++)
        {
            sums.AsSpan().Fill(Half);
            ReadOnlySpan<byte> old = pixels[(weights.First(y) * stride)..];
            foreach (int weight in weights.Of(y))
            {
                for (int i = 0; i < sums.Length; i++)
                {
                    sums[i] += old[i] * weight;
                }

                old = old[stride..];
            }

            Span<byte> row = result.AsSpan(y * stride, stride);
            for (int i = 0; i < row.Length; i++)
            {
                row[i] = Round(sums[i]);
            }
        }

        return result;
    }

    private static byte Round(int sum) => (byte)Math.Clamp(sum >> ResampleWeights.Precision, 0, 255);

    private static byte[] Nearest(ReadOnlySpan<byte> pixels, int width, int height, int channels, int newWidth, int newHeight)
    {
        byte[] result = new byte[newHeight * newWidth * channels];
        int[] columns = NearestOf(width, newWidth);
        int at = 0;
        foreach (int y in NearestOf(height, newHeight))
        {
            foreach (int x in columns)
            {
                pixels.Slice(((y * width) + x) * channels, channels).CopyTo(result.AsSpan(at));
                at += channels;
            }
        }

        return result;
    }

    // The positions are summed up as Pillow does (Geometry.c): multiplied out, some would round to the other side.
    private static int[] NearestOf(int oldSize, int newSize)
    {
        int[] nearest = new int[newSize];
        double step = (double)oldSize / newSize;
        double position = step * 0.5;
        for (int i = 0; i < newSize; i++)
        {
            nearest[i] = Math.Min((int)position, oldSize - 1);
            position += step;
        }

        return nearest;
    }
}
