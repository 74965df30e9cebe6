using System.Buffers.Binary;

namespace StableDiffusion.Imaging;

/// <summary>Which way up a picture was taken: the EXIF tag Orientation (EXIF 2.32, section 4.6.4), which cameras set instead of turning pixels.</summary>
internal static class ExifOrientation
{
    /// <summary>The value of a picture that needs no turning.</summary>
    public const int Upright = 1;

    /// <summary>Finds the tag.</summary>
    /// <param name="tiff">EXIF data from its TIFF header on, in either byte order. It is not trusted: what does not follow the format says nothing.</param>
    /// <returns>1 to 8; <see cref="Upright"/> where the data does not say.</returns>
    public static int Read(ReadOnlySpan<byte> tiff)
    {
        const int Tag = 0x0112;
        const int Short = 3;
        const int EntryBytes = 12;
        if (tiff.Length < 8 || !(tiff[..2].SequenceEqual("II"u8) || tiff[..2].SequenceEqual("MM"u8)))
        {
            return Upright;
        }

        bool isLittle = tiff[0] == 'I';
        uint start = isLittle ? BinaryPrimitives.ReadUInt32LittleEndian(tiff[4..]) : BinaryPrimitives.ReadUInt32BigEndian(tiff[4..]);
        if (Word(tiff, 2, isLittle) != 42 || start > tiff.Length - 2)
        {
            return Upright;
        }

        int entries = Word(tiff, (int)start, isLittle);
        ReadOnlySpan<byte> directory = tiff[((int)start + 2)..];
        for (int i = 0; i < entries && (i + 1) * EntryBytes <= directory.Length; i++)
        {
            ReadOnlySpan<byte> entry = directory.Slice(i * EntryBytes, EntryBytes);
            if (Word(entry, 0, isLittle) == Tag)
            {
                int value = Word(entry, 8, isLittle);
                return Word(entry, 2, isLittle) == Short && value is >= 1 and <= 8 ? value : Upright;
            }
        }

        return Upright;
    }

    /// <summary>The picture upright.</summary>
    /// <param name="image">The pixels as stored.</param>
    /// <param name="orientation">1 as it is, 2 mirrored, 3 upside down, 4 both, 5 to 8 the same with rows and columns exchanged (5 transposed, 6 to be turned right, 7, 8 left).</param>
    public static RgbImage Apply(RgbImage image, int orientation)
    {
        if (orientation == Upright)
        {
            return image;
        }

        bool isTransposed = orientation >= 5;
        bool fromRight = orientation is 2 or 3 or 7 or 8;
        bool fromBottom = orientation is 3 or 4 or 6 or 7;
        (int width, int height) = isTransposed ? (image.Height, image.Width) : (image.Width, image.Height);
        ReadOnlySpan<byte> old = image.Pixels;
        byte[] pixels = new byte[old.Length];
        int at = 0;
        for (int y = 0; y < height; y++)
        {
            for (int x = 0; x < width; x++)
            {
                (int oldX, int oldY) = isTransposed ? (y, x) : (x, y);
                oldX = fromRight ? image.Width - 1 - oldX : oldX;
                oldY = fromBottom ? image.Height - 1 - oldY : oldY;
                int from = ((oldY * image.Width) + oldX) * 3;
                (pixels[at], pixels[at + 1], pixels[at + 2]) = (old[from], old[from + 1], old[from + 2]);
                at += 3;
            }
        }

        return new RgbImage(width, height, pixels);
    }

    private static int Word(ReadOnlySpan<byte> bytes, int at, bool isLittle)
        => isLittle ? BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]) : BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]);
}
