using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using StableDiffusion.Imaging;

namespace StableDiffusion.Tests.Imaging;

/// <summary>Builds PNG files chunk by chunk, right ones and wrong ones.</summary>
internal static class PngFiles
{
    public static byte[] File(params byte[][] chunks) => [.. PngWriter.Signature, .. chunks.SelectMany(c => c)];

    public static byte[] Chunk(string type, params byte[] data)
    {
        byte[] typeBytes = Encoding.ASCII.GetBytes(type);
        byte[] chunk = [.. BigEndian((uint)data.Length), .. typeBytes, .. data, .. BigEndian(Crc32.Of(typeBytes, data))];
        return chunk;
    }

    public static byte[] Header(uint width, uint height, byte depth = 8, byte colour = 2, byte compression = 0, byte filter = 0, byte interlace = 0)
        => Chunk("IHDR", [.. BigEndian(width), .. BigEndian(height), depth, colour, compression, filter, interlace]);

    public static byte[] End => Chunk("IEND");

    public static byte[] Deflate(byte[] bytes)
    {
        using MemoryStream result = new();
        using (ZLibStream zlib = new(result, CompressionLevel.Fastest, leaveOpen: true))
        {
            zlib.Write(bytes);
        }

        return result.ToArray();
    }

    public static byte[] BigEndian(uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    /// <summary>A picture with edges, gradients and noise, so that every filter is some row's best.</summary>
    public static RgbImage Picture(int width, int height, int seed = 1)
    {
        System.Random random = new(seed);
        byte[] pixels = new byte[width * height * 3];
        for (int y = 0; y < height; y++)
        {
            for (int x = 0; x < width; x++)
            {
                int kind = y / 4 % 4;
                for (int c = 0; c < 3; c++)
                {
                    pixels[(((y * width) + x) * 3) + c] = (byte)(kind switch
                    {
                        0 => (x * 3) + (y * 5) + c,
                        1 => x * x / 7,
                        2 => y * 31,
                        _ => random.Next(256),
                    });
                }
            }
        }

        return new RgbImage(width, height, pixels);
    }
}
