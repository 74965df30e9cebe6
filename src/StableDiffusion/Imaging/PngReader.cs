using System.IO.Compression;

namespace StableDiffusion.Imaging;

/// <summary>
/// Reads PNG (W3C Portable Network Graphics specification) of every kind: 1 to 16 bits, grey, RGB, palette, with and without alpha,
/// interlaced or not. Pixels are what PIL's <c>convert("RGB")</c> gives: alpha and tRNS are dropped without blending, and 16-bit samples
/// keep their upper 8 bits. Grey of 16 bits does too, where Pillow would turn everything above 255 into white. Everything in the file is
/// checked before it is used: chunk lengths, check values, size limits, and that the pixels are as many as the header says.
/// </summary>
internal static class PngReader
{
    /// <summary>Reads the pixels.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <param name="file">Its content.</param>
    /// <exception cref="InvalidImageException">It is damaged or too large.</exception>
    public static RgbImage ReadImage(string name, ReadOnlyMemory<byte> file)
    {
        PngHeader? header = null;
        ReadOnlyMemory<byte> palette = default;
        int orientation = ExifOrientation.Upright;
        MemoryStream compressed = new();
        bool pixelsEnded = false;
        foreach (PngChunk chunk in PngChunk.Enumerate(name, file))
        {
            if (header is null && chunk.Type != "IHDR")
            {
                throw ImageFile.Bad(name, $"its first chunk is '{chunk.Type}' instead of IHDR");
            }

            switch (chunk.Type)
            {
                case "IHDR" when header is null:
                    header = PngHeader.Parse(name, chunk.Data.Span);
                    break;
                case "IDAT" when !pixelsEnded:
                    compressed.Write(chunk.Data.Span);
                    continue;
                case "PLTE" when palette.IsEmpty:
                    palette = chunk.Data.Length is > 0 and <= 256 * 3 && chunk.Data.Length % 3 == 0
                        ? chunk.Data
                        : throw ImageFile.Bad(name, $"it is damaged: its palette has {chunk.Data.Length} bytes instead of 3 for each of 1 to 256 colours");
                    break;
                case "IDAT" or "IHDR" or "PLTE":
                    throw ImageFile.Bad(name, $"it has a second '{chunk.Type}' part");
                case "eXIf":
                    orientation = ExifOrientation.Read(chunk.Data.Span);
                    break;
                case "IEND":
                    break;
                default:
                    if (chunk.IsCritical)
                    {
                        throw ImageFile.Bad(name, $"it has a chunk '{chunk.Type}' that is not known");
                    }

                    break;
            }

            pixelsEnded |= compressed.Length > 0;
        }

        if (header is { Colour: 3 } && palette.IsEmpty)
        {
            throw ImageFile.Bad(name, "it is damaged: its pixels are colours of a palette, but it has none");
        }

        compressed.Position = 0;
        byte[] pixels = Decompress(name, header ?? throw ImageFile.Bad(name, "it has no IHDR chunk"), palette.Span, compressed);
        return ExifOrientation.Apply(new RgbImage(header.Width, header.Height, pixels), orientation);
    }

    private static byte[] Decompress(string name, PngHeader header, ReadOnlySpan<byte> palette, MemoryStream compressed)
    {
        // Deflate makes at most 1032 bytes of one, so a small file cannot make us take much memory.
        const long MostBytesPerByte = 1032;
        if (header.DataLength > compressed.Length * MostBytesPerByte)
        {
            throw ImageFile.Bad(name, "it has too little data for its size");
        }

        byte[] pixels = new byte[header.Width * header.Height * 3];
        PngSamples samples = new(name, header, palette);
        try
        {
            using ZLibStream zlib = new(compressed, CompressionMode.Decompress);
            foreach (PngPass pass in header.Passes)
            {
                ReadPass(name, header, pass, samples, zlib, pixels);
            }
        }
        catch (EndOfStreamException failure)
        {
            throw ImageFile.Bad(name, "its pixels end too early", failure);
        }
        catch (InvalidDataException failure)
        {
            throw ImageFile.Bad(name, "its pixels are damaged", failure);
        }

        return pixels;
    }

    private static void ReadPass(string name, PngHeader header, PngPass pass, PngSamples samples, Stream data, Span<byte> pixels)
    {
        int columns = pass.Columns(header.Width);
        if (columns == 0)
        {
            return; // A narrow picture has passes without pixels, and then without rows.
        }

        byte[] row = new byte[header.RowBytes(columns)];
        byte[] above = new byte[row.Length];
        byte[] rgb = new byte[columns * 3];
        for (int y = pass.FirstY; y < header.Height; y += pass.StepY)
        {
            int filter = data.ReadByte();
            data.ReadExactly(row);
            if (filter >= PngFilter.Count)
            {
                throw ImageFile.Bad(name, $"row {y} has the unknown filter {filter}");
            }

            PngFilter.Undo(filter, row, above, header.FilterDistance);
            Span<byte> line = pixels.Slice(y * header.Width * 3, header.Width * 3);
            if (pass.StepX == 1)
            {
                samples.ToRgb(row, line);
            }
            else
            {
                samples.ToRgb(row, rgb);
                for (int x = 0; x < columns; x++)
                {
                    rgb.AsSpan(x * 3, 3).CopyTo(line[((pass.FirstX + (x * pass.StepX)) * 3)..]);
                }
            }

            (row, above) = (above, row);
        }
    }
}
