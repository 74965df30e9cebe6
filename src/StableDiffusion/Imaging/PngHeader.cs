using System.Buffers.Binary;

namespace StableDiffusion.Imaging;

/// <summary>What a PNG file's IHDR chunk says (PNG specification, section 11.2.2).</summary>
/// <param name="Width">Pixels per row.</param>
/// <param name="Height">Rows.</param>
/// <param name="Depth">Bits per sample: 1, 2, 4, 8 or 16.</param>
/// <param name="Colour">0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.</param>
/// <param name="IsInterlaced">Whether pixels come in the seven passes of Adam7.</param>
internal sealed record PngHeader(int Width, int Height, int Depth, int Colour, bool IsInterlaced)
{
    /// <summary>Every pixel in one pass.</summary>
    private static readonly PngPass[] OnePass = [new(0, 0, 1, 1)];

    private static readonly PngPass[] Adam7 = [new(0, 0, 8, 8), new(4, 0, 8, 8), new(0, 4, 4, 8), new(2, 0, 4, 4), new(0, 2, 2, 4), new(1, 0, 2, 2), new(0, 1, 1, 2)];

    /// <summary>Samples per pixel.</summary>
    public int Channels => Colour switch { 2 => 3, 4 => 2, 6 => 4, _ => 1 };

    /// <summary>The distance between the bytes that a row filter compares, at least 1.</summary>
    public int FilterDistance => Math.Max(Channels * Depth / 8, 1);

    /// <summary>The passes in which the pixels come; some may be empty.</summary>
    public IReadOnlyList<PngPass> Passes => IsInterlaced ? Adam7 : OnePass;

    /// <summary>All bytes of the decompressed data: every row of every pass, with its filter's number.</summary>
    public long DataLength => Passes.Sum(pass => pass.Columns(Width) == 0 ? 0L : pass.Rows(Height) * (1L + RowBytes(pass.Columns(Width))));

    /// <summary>Bytes of a row of so many pixels.</summary>
    public int RowBytes(int pixels) => ((pixels * Channels * Depth) + 7) / 8;

    /// <summary>Reads the chunk.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <param name="data">The chunk's content.</param>
    /// <exception cref="InvalidImageException">It says something that no PNG file may say, or a size out of range.</exception>
    public static PngHeader Parse(string name, ReadOnlySpan<byte> data)
    {
        if (data.Length != 13)
        {
            throw ImageFile.Bad(name, "its IHDR chunk has the wrong length");
        }

        uint width = BinaryPrimitives.ReadUInt32BigEndian(data);
        uint height = BinaryPrimitives.ReadUInt32BigEndian(data[4..]);
        (byte depth, byte colour, byte compression, byte filter, byte interlace) = (data[8], data[9], data[10], data[11], data[12]);
        bool isKind = (colour, depth) is (0, 1 or 2 or 4 or 8 or 16) or (3, 1 or 2 or 4 or 8) or (2 or 4 or 6, 8 or 16);
        if (!isKind)
        {
            throw ImageFile.Bad(name, $"it is damaged: there is no PNG with {depth} bits of colour type {colour}");
        }

        if (compression != 0 || filter != 0 || interlace > 1)
        {
            throw ImageFile.Bad(name, "its IHDR chunk names an unknown compression, filter or interlace method");
        }

        ImageFile.CheckSize(name, width, height);
        return new PngHeader((int)width, (int)height, depth, colour, interlace == 1);
    }
}
