using System.Text;

namespace StableDiffusion.Imaging;

/// <summary>Picture files: what kind one is, told by its first bytes and not by its name, and its pixels.</summary>
internal static class ImageFile
{
    private const long LargestFile = 1L << 30;

    /// <summary>True if a file begins as a JPEG file does.</summary>
    public static bool IsJpeg(ReadOnlySpan<byte> file) => file is [0xFF, 0xD8, 0xFF, ..];

    /// <summary>Reads a file whole.</summary>
    /// <exception cref="InvalidImageException">It cannot be opened or is too large.</exception>
    public static byte[] Read(string path)
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

    /// <summary>The pixels, turned as the file's EXIF orientation says.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <param name="file">Its content.</param>
    /// <exception cref="InvalidImageException">It is damaged, too large or of another kind.</exception>
    public static RgbImage Decode(string name, ReadOnlyMemory<byte> file)
    {
        ReadOnlySpan<byte> bytes = file.Span;
        if (IsJpeg(bytes))
        {
            return JpegReader.ReadImage(name, bytes);
        }

        return bytes.StartsWith(PngWriter.Signature)
            ? PngReader.ReadImage(name, file)
            : throw Bad(name, $"{Describe(bytes)}; only PNG and JPEG files can be read: convert it to PNG first, in any image editor or with ImageMagick");
    }

    /// <summary>What kind of file it is, such as "it is a GIF file".</summary>
    public static string Describe(ReadOnlySpan<byte> file)
    {
        string? kind = file switch
        {
            [] => null,
            [0xFF, 0xD8, 0xFF, ..] => "JPEG",
            [(byte)'G', (byte)'I', (byte)'F', (byte)'8', ..] => "GIF",
            [(byte)'B', (byte)'M', ..] => "BMP",
            [(byte)'R', (byte)'I', (byte)'F', (byte)'F', _, _, _, _, (byte)'W', (byte)'E', (byte)'B', (byte)'P', ..] => "WebP",
            [(byte)'I', (byte)'I', 42 or 43, 0, ..] or [(byte)'M', (byte)'M', 0, 42 or 43, ..] => "TIFF",
            [0xFF, 0x0A, ..] or [0, 0, 0, 12, (byte)'J', (byte)'X', (byte)'L', (byte)' ', ..] => "JPEG XL",
            [0, 0, 0, 12, (byte)'j', (byte)'P', (byte)' ', (byte)' ', ..] => "JPEG 2000",
            [_, _, _, _, (byte)'f', (byte)'t', (byte)'y', (byte)'p', _, _, _, _, ..] => Encoding.Latin1.GetString(file[8..12]) switch
            {
                "avif" or "avis" => "AVIF",
                "heic" or "heix" or "hevc" or "hevx" or "heim" or "heis" or "mif1" or "msf1" => "HEIC",
                _ => "video",
            },
            [(byte)'8', (byte)'B', (byte)'P', (byte)'S', ..] => "Photoshop",
            _ => "",
        };
        return kind switch
        {
            null => "it is empty",
            "" => "it is not a picture of a known kind",
            "AVIF" => "it is an AVIF file",
            _ => $"it is a {kind} file",
        };
    }

    /// <summary>Refuses a file whose picture would be too large.</summary>
    /// <exception cref="InvalidImageException">The size is out of range.</exception>
    public static void CheckSize(string name, long width, long height)
    {
        if (!RgbImage.IsAcceptedSize(width, height))
        {
            throw Bad(name, $"its size {width}x{height} is out of range: sides are 1 to {RgbImage.MaxSide} and at most {RgbImage.MaxPixels} pixels in all");
        }
    }

    /// <summary>The exception for a file that cannot be read.</summary>
    /// <param name="name">The file.</param>
    /// <param name="why">The rest of the sentence, without a full stop.</param>
    /// <param name="inner">The failure behind it.</param>
    public static InvalidImageException Bad(string name, string why, Exception? inner = null)
        => inner is null ? new($"'{name}' cannot be read: {why}.") : new($"'{name}' cannot be read: {why}.", inner);
}
