namespace StableDiffusion.Imaging;

/// <summary>Turns unfiltered rows of a PNG file into 8-bit RGB. Transparency is dropped without blending; of 16 bits the upper 8 are kept.</summary>
internal readonly ref struct PngSamples
{
    private readonly PngHeader header;
    private readonly ReadOnlySpan<byte> palette;
    private readonly string name;

    /// <summary>Prepares for the rows of one file.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <param name="header">Its header.</param>
    /// <param name="palette">R, G and B of each colour of its palette; needed for colour type 3 only.</param>
    public PngSamples(string name, PngHeader header, ReadOnlySpan<byte> palette)
    {
        this.name = name;
        this.header = header;
        this.palette = palette;
    }

    /// <summary>Converts a row.</summary>
    /// <param name="row">The row's bytes.</param>
    /// <param name="rgb">Receives R, G and B of as many pixels as it has room for.</param>
    /// <exception cref="InvalidImageException">A pixel has a colour that the palette lacks.</exception>
    public void ToRgb(ReadOnlySpan<byte> row, Span<byte> rgb)
    {
        if (header is { Colour: 2, Depth: 8 })
        {
            row[..rgb.Length].CopyTo(rgb);
            return;
        }

        int channels = header.Channels;
        int scale = 255 / ((1 << Math.Min(header.Depth, 8)) - 1);
        for (int x = 0; x * 3 < rgb.Length; x++)
        {
            Span<byte> pixel = rgb.Slice(x * 3, 3);
            switch (header.Colour)
            {
                case 3:
                    ColourOf(Sample(row, x)).CopyTo(pixel);
                    break;
                case 0 or 4:
                    pixel.Fill((byte)(Sample(row, x * channels) * scale));
                    break;
                default:
                    (pixel[0], pixel[1], pixel[2]) = (Sample(row, x * channels), Sample(row, (x * channels) + 1), Sample(row, (x * channels) + 2));
                    break;
            }
        }
    }

    private ReadOnlySpan<byte> ColourOf(int index) => index * 3 < palette.Length
        ? palette.Slice(index * 3, 3)
        : throw ImageFile.Bad(name, $"it is damaged: a pixel has colour {index}, but its palette has {palette.Length / 3} colours, counted from 0");

    // Samples of less than 8 bits are packed from the highest bit down.
    private byte Sample(ReadOnlySpan<byte> row, int index)
    {
        int depth = header.Depth;
        if (depth >= 8)
        {
            return row[index * (depth / 8)];
        }

        int bit = index * depth;
        return (byte)((row[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1));
    }
}
