using System.IO.Compression;
using System.Text;

namespace StableDiffusion.Imaging;

/// <summary>The text chunks of a PNG file (tEXt, zTXt and iTXt), read without its pixels.</summary>
public static class PngText
{
    // Compressed text may grow to this; longer text is hardly meant to be read.
    private const int LongestText = 16 << 20;

    /// <summary>Keys and texts in the order of the file; a key may occur more than once. Chunks that are no valid text are left out.</summary>
    /// <exception cref="InvalidImageException">It is missing, damaged or no PNG file.</exception>
    public static IReadOnlyList<KeyValuePair<string, string>> Load(string path) => Read(path, ImageFile.Read(path));

    /// <summary>The same from a file in memory.</summary>
    /// <exception cref="InvalidImageException">It is damaged or no PNG file.</exception>
    public static IReadOnlyList<KeyValuePair<string, string>> Decode(ReadOnlyMemory<byte> png) => Read("the picture", png);

    private static List<KeyValuePair<string, string>> Read(string name, ReadOnlyMemory<byte> file)
    {
        List<KeyValuePair<string, string>> texts = [];
        foreach (PngChunk chunk in PngChunk.Enumerate(name, file))
        {
            if (chunk.Type is "tEXt" or "zTXt" or "iTXt" && TryParse(chunk.Type, chunk.Data.Span, out string key, out string text))
            {
                texts.Add(new KeyValuePair<string, string>(key, text));
            }
        }

        return texts;
    }

    private static bool TryParse(string type, ReadOnlySpan<byte> data, out string key, out string text)
    {
        (key, text) = ("", "");
        if (!TryTake(ref data, out ReadOnlySpan<byte> keyBytes) || keyBytes.Length is < 1 or > 79)
        {
            return false;
        }

        key = Encoding.Latin1.GetString(keyBytes);
        switch (type)
        {
            case "tEXt":
                text = Encoding.Latin1.GetString(data);
                return true;
            case "zTXt":
                if (data.IsEmpty || data[0] != 0 || Inflate(data[1..]) is not { } latin)
                {
                    return false;
                }

                text = Encoding.Latin1.GetString(latin);
                return true;
            default:
                return TryParseInternational(data, out text);
        }
    }

    private static bool TryParseInternational(ReadOnlySpan<byte> data, out string text)
    {
        text = "";
        if (data.Length < 2)
        {
            return false;
        }

        (byte compressed, byte method) = (data[0], data[1]);
        data = data[2..];
        if (!TryTake(ref data, out _) || !TryTake(ref data, out _) || compressed > 1 || (compressed == 1 && method != 0))
        {
            return false;
        }

        if (compressed == 1)
        {
            if (Inflate(data) is not { } inflated)
            {
                return false;
            }

            data = inflated;
        }

        text = Encoding.UTF8.GetString(data);
        return true;
    }

    // Takes the bytes before the next zero, and the zero.
    private static bool TryTake(ref ReadOnlySpan<byte> data, out ReadOnlySpan<byte> taken)
    {
        int zero = data.IndexOf((byte)0);
        taken = zero < 0 ? default : data[..zero];
        data = zero < 0 ? default : data[(zero + 1)..];
        return zero >= 0;
    }

    private static byte[]? Inflate(ReadOnlySpan<byte> compressed)
    {
        using MemoryStream source = new(compressed.ToArray());
        using ZLibStream zlib = new(source, CompressionMode.Decompress);
        using MemoryStream result = new();
        byte[] buffer = new byte[8192];
        try
        {
            for (int count = zlib.Read(buffer); count > 0; count = zlib.Read(buffer))
            {
                result.Write(buffer, 0, count);
                if (result.Length > LongestText)
                {
                    return null;
                }
            }
        }
        catch (InvalidDataException)
        {
            return null;
        }

        return result.ToArray();
    }
}
