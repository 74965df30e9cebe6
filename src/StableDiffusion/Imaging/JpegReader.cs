namespace StableDiffusion.Imaging;

/// <summary>
/// Reads JPEG files, baseline and progressive, grey, colour and CMYK, with the system's libjpeg-turbo: the same pixels as Pillow, which
/// uses it too. Damage is refused, also where the library would only warn and fill the rest with grey, such as in a truncated file.
/// </summary>
internal static class JpegReader
{
    /// <summary>Reads the pixels, turned as the EXIF orientation says.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <param name="file">Its content.</param>
    /// <exception cref="InvalidImageException">It is damaged, too large, of a kind that is not done, or there is no libjpeg-turbo.</exception>
    public static RgbImage ReadImage(string name, ReadOnlySpan<byte> file)
    {
        JpegHeader header = JpegHeader.Parse(name, file);
        TurboJpeg library = TurboJpeg.Shared ?? throw ImageFile.Bad(name, TurboJpeg.HowToGet);
        bool isCmyk = header.Components == 4;
        byte[] pixels = new byte[header.Width * header.Height * (isCmyk ? 4L : 3L)];
        if (library.Decompress(file, header.Width, header.Height, isCmyk ? TurboJpeg.Cmyk : TurboJpeg.Rgb, pixels) is { } failure)
        {
            throw ImageFile.Bad(name, $"it is damaged or of an unknown kind; the JPEG library says: {failure}");
        }

        byte[] rgb = isCmyk ? FromCmyk(pixels) : pixels;
        return ExifOrientation.Apply(new RgbImage(header.Width, header.Height, rgb), header.Orientation);
    }

    // Such files store 255 less ink, as Adobe's programs began to do. Without a colour profile this is Pillow's conversion.
    private static byte[] FromCmyk(byte[] inverted)
    {
        byte[] rgb = new byte[inverted.Length / 4 * 3];
        for (int i = 0; i < inverted.Length / 4; i++)
        {
            int light = inverted[(i * 4) + 3];
            for (int c = 0; c < 3; c++)
            {
                int product = ((255 - inverted[(i * 4) + c]) * light) + 128;
                rgb[(i * 3) + c] = (byte)(light - (((product >> 8) + product) >> 8)); // Divided by 255, rounded.
            }
        }

        return rgb;
    }
}
