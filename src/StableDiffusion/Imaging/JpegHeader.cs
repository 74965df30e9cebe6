using System.Buffers.Binary;

namespace StableDiffusion.Imaging;

/// <summary>What the marker segments before a JPEG file's pixels say (ITU-T T.81, annex B), read before anything is decoded.</summary>
/// <param name="Width">Pixels per row.</param>
/// <param name="Height">Rows.</param>
/// <param name="Components">1 grey, 3 colour, 4 CMYK or YCCK.</param>
/// <param name="Orientation">The EXIF orientation, 1 to 8.</param>
internal sealed record JpegHeader(int Width, int Height, int Components, int Orientation)
{
    /// <summary>Reads the segments up to the first scan.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <param name="file">Its content, which begins as a JPEG file does.</param>
    /// <exception cref="InvalidImageException">It is damaged, too large, or of a kind that is not done.</exception>
    public static JpegHeader Parse(string name, ReadOnlySpan<byte> file)
    {
        JpegHeader? header = null;
        int orientation = 0;
        int at = 2; // After SOI.
        while (true)
        {
            int marker = Marker(name, file, ref at);
            if (marker is 0xD8 or 0xD9)
            {
                throw ImageFile.Bad(name, "it is damaged: it has no pixels");
            }

            ReadOnlySpan<byte> segment = Segment(name, file, at);
            at += 2 + segment.Length;
            switch (marker)
            {
                case 0xDA: // SOS
                    return (header ?? throw ImageFile.Bad(name, "it is damaged: its pixels come before their size")) with { Orientation = orientation == 0 ? ExifOrientation.Upright : orientation };
                case 0xE1 when orientation == 0 && segment.StartsWith("Exif\0\0"u8): // APP1
                    orientation = ExifOrientation.Read(segment[6..]);
                    break;
                case >= 0xC0 and <= 0xCF and not (0xC4 or 0xC8 or 0xCC): // SOFn; the others are tables
                    header = header is null ? Frame(name, file, marker, segment) : throw ImageFile.Bad(name, "it is damaged: its size comes twice");
                    break;
            }
        }
    }

    private static int Marker(string name, ReadOnlySpan<byte> file, ref int at)
    {
        int first = at;
        while (at < file.Length && file[at] == 0xFF)
        {
            at++;
        }

        if (at >= file.Length)
        {
            throw ImageFile.Bad(name, "it is cut short");
        }

        return at > first && file[at] is not (0 or 1 or (>= 0xD0 and <= 0xD7))
            ? file[at++]
            : throw ImageFile.Bad(name, $"it is damaged: there is no marker at byte {at}");
    }

    private static ReadOnlySpan<byte> Segment(string name, ReadOnlySpan<byte> file, int at)
    {
        int length = file.Length - at < 2 ? int.MaxValue : BinaryPrimitives.ReadUInt16BigEndian(file[at..]);
        return length < 2 ? throw ImageFile.Bad(name, $"it is damaged: the segment at byte {at} has no length")
            : length > file.Length - at ? throw ImageFile.Bad(name, "it is cut short")
            : file.Slice(at + 2, length - 2);
    }

    private static JpegHeader Frame(string name, ReadOnlySpan<byte> file, int marker, ReadOnlySpan<byte> segment)
    {
        // The fewest bits that Huffman coding takes: one per block of the coarsest component, 32x32 pixels.
        const long MostPixelsPerByte = 8 * 32 * 32;
        const int FirstArithmetic = 0xC9;
        if (segment.Length < 6)
        {
            throw ImageFile.Bad(name, "it is damaged: its frame header is too short");
        }

        (int bits, int height, int width, int components) = (segment[0], BinaryPrimitives.ReadUInt16BigEndian(segment[1..]), BinaryPrimitives.ReadUInt16BigEndian(segment[3..]), segment[5]);
        if (bits != 8 || components is not (1 or 3 or 4))
        {
            throw ImageFile.Bad(name, $"it is a JPEG file with {components} channels of {bits} bits, but only 1, 3 or 4 channels of 8 bits can be read: convert it to PNG first");
        }

        ImageFile.CheckSize(name, width, height);
        return marker >= FirstArithmetic || (long)width * height <= file.Length * MostPixelsPerByte
            ? new JpegHeader(width, height, components, ExifOrientation.Upright)
            : throw ImageFile.Bad(name, "it has too little data for its size");
    }
}
