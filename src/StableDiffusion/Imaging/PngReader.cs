using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace StableDiffusion.Imaging;

/// <summary>
/// Reads PNG (W3C Portable Network Graphics specification): 8-bit RGB and RGBA, not interlaced. Everything in the file is checked
/// before it is used: chunk lengths, check values, size limits, and that the pixels are as many as the header says.
/// </summary>
internal static class PngReader
{
    private const long LargestFile = 1L << 30;
    private const string Readable = "only PNG files of 8-bit RGB or RGBA that are not interlaced can be read";

    /// <summary>Reads a file whole.</summary>
    /// <exception cref="InvalidImageException">It cannot be opened or is too large.</exception>
    public static byte[] ReadFile(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            FileInfo file = new(path);
            if (Directory.Exists(path) || !file.Exists)
            {
                throw Bad(path, Directory.Exists(path) ? "it is a folder" : "there is no such file");
            }

            return file.Length <= LargestFile ? File.ReadAllBytes(path) : throw Bad(path, $"it has {file.Length} bytes, too many for a picture");
        }
        catch (Exception failure) when (failure is UnauthorizedAccessException or ArgumentException or NotSupportedException or (IOException and not InvalidImageException))
        {
            throw new InvalidImageException($"'{path}' cannot be read: it cannot be opened.", failure);
        }
    }

    /// <summary>Reads the pixels.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <param name="file">Its content.</param>
    public static RgbImage ReadImage(string name, ReadOnlyMemory<byte> file)
    {
        Header? header = null;
        MemoryStream compressed = new();
        bool pixelsEnded = false;
        foreach (PngChunk chunk in PngChunk.Enumerate(name, file))
        {
            if (header is null && chunk.Type != "IHDR")
            {
                throw Bad(name, $"its first chunk is '{chunk.Type}' instead of IHDR");
            }

            switch (chunk.Type)
            {
                case "IHDR" when header is null:
                    header = ParseHeader(name, chunk.Data.Span);
                    break;
                case "IDAT" when !pixelsEnded:
                    compressed.Write(chunk.Data.Span);
                    continue;
                case "IDAT" or "IHDR":
                    throw Bad(name, $"it has a second '{chunk.Type}' part");
                case "PLTE" or "IEND":
                    break;
                default:
                    if (chunk.IsCritical)
                    {
                        throw Bad(name, $"it has a chunk '{chunk.Type}' that is not known; {Readable}");
                    }

                    break;
            }

            pixelsEnded |= compressed.Length > 0;
        }

        return Decompress(name, header ?? throw Bad(name, "it has no IHDR chunk"), compressed);
    }

    internal static InvalidImageException Bad(string name, string why) => new($"'{name}' cannot be read: {why}.");

    private static Header ParseHeader(string name, ReadOnlySpan<byte> data)
    {
        if (data.Length != 13)
        {
            throw Bad(name, "its IHDR chunk has the wrong length");
        }

        uint width = BinaryPrimitives.ReadUInt32BigEndian(data);
        uint height = BinaryPrimitives.ReadUInt32BigEndian(data[4..]);
        (byte depth, byte colour, byte compression, byte filter, byte interlace) = (data[8], data[9], data[10], data[11], data[12]);
        if (depth != 8 || colour is not (2 or 6) || interlace != 0)
        {
            string kind = colour switch { 0 => "greyscale", 2 => "RGB", 3 => "palette", 4 => "greyscale with transparency", 6 => "RGBA", _ => "unknown" };
            throw Bad(name, $"it is a PNG of kind {depth}-bit {kind}{(interlace == 0 ? "" : ", interlaced")}, but {Readable}");
        }

        if (compression != 0 || filter != 0)
        {
            throw Bad(name, "its IHDR chunk names an unknown compression or filter method");
        }

        return RgbImage.IsAcceptedSize(width, height)
            ? new Header((int)width, (int)height, colour == 2 ? 3 : 4)
            : throw Bad(name, $"its size {width}x{height} is out of range: sides are 1 to {RgbImage.MaxSide} and at most {RgbImage.MaxPixels} pixels in all");
    }

    private static RgbImage Decompress(string name, Header header, MemoryStream compressed)
    {
        // Deflate makes at most 1032 bytes of one, so a small file cannot make us take much memory.
        const long MostBytesPerByte = 1032;
        int stride = header.Width * header.PixelBytes;
        if ((stride + 1L) * header.Height > compressed.Length * MostBytesPerByte)
        {
            throw Bad(name, "it has too little data for its size");
        }

        byte[] pixels = new byte[header.Width * header.Height * 3];
        byte[] row = new byte[stride];
        byte[] above = new byte[stride];
        compressed.Position = 0;
        try
        {
            using ZLibStream zlib = new(compressed, CompressionMode.Decompress);
            for (int y = 0; y < header.Height; y++)
            {
                int filter = zlib.ReadByte();
                zlib.ReadExactly(row);
                if (filter >= PngFilter.Count)
                {
                    throw Bad(name, $"row {y} has the unknown filter {filter}");
                }

                PngFilter.Undo(filter, row, above, header.PixelBytes);
                CopyRgb(row, header.PixelBytes, pixels.AsSpan(y * header.Width * 3, header.Width * 3));
                (row, above) = (above, row);
            }
        }
        catch (EndOfStreamException failure)
        {
            throw new InvalidImageException($"'{name}' cannot be read: its pixels end too early.", failure);
        }
        catch (InvalidDataException failure)
        {
            throw new InvalidImageException($"'{name}' cannot be read: its pixels are damaged.", failure);
        }

        return new RgbImage(header.Width, header.Height, pixels);
    }

    private static void CopyRgb(ReadOnlySpan<byte> row, int pixelBytes, Span<byte> rgb)
    {
        if (pixelBytes == 3)
        {
            row.CopyTo(rgb);
            return;
        }

        for (int x = 0; x < rgb.Length / 3; x++)
        {
            row.Slice(x * pixelBytes, 3).CopyTo(rgb[(x * 3)..]);
        }
    }

    private sealed record Header(int Width, int Height, int PixelBytes);
}
