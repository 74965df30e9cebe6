using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace StableDiffusion.Imaging;

/// <summary>Writes PNG (W3C Portable Network Graphics specification): 8-bit RGB, the filter chosen per row, text chunks.</summary>
internal static class PngWriter
{
    private const int PixelBytes = 3;

    /// <summary>The first eight bytes of every PNG file.</summary>
    public static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', (byte)'\r', (byte)'\n', 0x1A, (byte)'\n'];

    /// <summary>A whole file.</summary>
    /// <exception cref="ArgumentException">A key is not 1 to 79 Latin-1 characters.</exception>
    public static byte[] Write(RgbImage image, IReadOnlyList<KeyValuePair<string, string>> texts)
    {
        MemoryStream file = new();
        file.Write(Signature);
        WriteChunk(file, "IHDR"u8, Header(image));
        foreach ((string key, string text) in texts)
        {
            WriteText(file, key, text);
        }

        WriteChunk(file, "IDAT"u8, Compress(image));
        WriteChunk(file, "IEND"u8, []);
        return file.ToArray();
    }

    private static byte[] Header(RgbImage image)
    {
        byte[] header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, image.Width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), image.Height);
        header[8] = 8; // Bits per channel.
        header[9] = 2; // Colour type RGB. Then compression, filter method and interlace, all 0.
        return header;
    }

    private static ReadOnlySpan<byte> Compress(RgbImage image)
    {
        MemoryStream compressed = new();
        using (ZLibStream zlib = new(compressed, CompressionLevel.Optimal, leaveOpen: true))
        {
            int stride = image.Width * PixelBytes;
            ReadOnlySpan<byte> above = new byte[stride];
            byte[] best = new byte[1 + stride]; // The first byte is the filter's number.
            byte[] candidate = new byte[1 + stride];
            for (int y = 0; y < image.Height; y++)
            {
                ReadOnlySpan<byte> row = image.Pixels.Slice(y * stride, stride);
                long bestCost = long.MaxValue;
                for (int type = 0; type < PngFilter.Count; type++)
                {
                    candidate[0] = (byte)type;
                    PngFilter.Apply(type, row, above, PixelBytes, candidate.AsSpan(1));
                    long cost = PngFilter.Cost(candidate.AsSpan(1));
                    if (cost < bestCost)
                    {
                        bestCost = cost;
                        (best, candidate) = (candidate, best);
                    }
                }

                zlib.Write(best);
                above = row;
            }
        }

        return compressed.GetBuffer().AsSpan(0, (int)compressed.Length);
    }

    private static void WriteText(Stream file, string key, string text)
    {
        if (key.Length is < 1 or > 79 || key.Any(c => c > 0xFF || char.IsControl(c)))
        {
            throw new ArgumentException($"The PNG text key '{key}' is not 1 to 79 printable Latin-1 characters.", nameof(key));
        }

        byte[] keyBytes = Encoding.Latin1.GetBytes(key);
        string clean = text.Replace('\0', '\uFFFD'); // The format has no way to store it.
        if (clean.All(c => c <= 0xFF))
        {
            WriteChunk(file, "tEXt"u8, [.. keyBytes, 0, .. Encoding.Latin1.GetBytes(clean)]);
        }
        else
        {
            // After the key: not compressed, method 0, no language, no translated key.
            WriteChunk(file, "iTXt"u8, [.. keyBytes, 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(clean)]);
        }
    }

    private static void WriteChunk(Stream file, ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
        file.Write(number);
        file.Write(type);
        file.Write(data);
        BinaryPrimitives.WriteUInt32BigEndian(number, Crc32.Of(type, data));
        file.Write(number);
    }
}
