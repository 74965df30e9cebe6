namespace StableDiffusion.Imaging;

/// <summary>
/// A picture in memory: tightly packed 8-bit RGB, row by row from the top, no padding. ImageSharp takes it as it is:
/// <c>Image.LoadPixelData&lt;Rgb24&gt;(image.Pixels, image.Width, image.Height)</c>. Immutable.
/// </summary>
public sealed class RgbImage : IDisposable
{
    /// <summary>The longest side that is accepted.</summary>
    public const int MaxSide = 16384;

    /// <summary>The most pixels that are accepted, 100 million (300 MB).</summary>
    public const int MaxPixels = 100_000_000;

    private byte[]? pixels;

    /// <summary>Takes over pixels.</summary>
    /// <param name="width">Pixels per row, 1 to <see cref="MaxSide"/>.</param>
    /// <param name="height">Rows, 1 to <see cref="MaxSide"/>.</param>
    /// <param name="pixels">width * height * 3 bytes, R G B. The image keeps the array: do not write to it any more.</param>
    /// <exception cref="ArgumentException">The size is out of range or the array has another length.</exception>
    public RgbImage(int width, int height, byte[] pixels)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        CheckSize(width, height);
        if (pixels.Length != width * height * 3)
        {
            throw new ArgumentException($"A picture of {width}x{height} needs {width * height * 3} bytes of RGB, but there are {pixels.Length}.", nameof(pixels));
        }

        Width = width;
        Height = height;
        this.pixels = pixels;
    }

    /// <summary>Pixels per row.</summary>
    public int Width { get; }

    /// <summary>Rows.</summary>
    public int Height { get; }

    /// <summary>R, G and B of every pixel, row by row: width * height * 3 bytes.</summary>
    /// <exception cref="ObjectDisposedException">The image was disposed.</exception>
    public ReadOnlySpan<byte> Pixels => Memory.Span;

    /// <summary>The same bytes as <see cref="Pixels"/>, for callers that keep them in a field.</summary>
    /// <exception cref="ObjectDisposedException">The image was disposed.</exception>
    public ReadOnlyMemory<byte> Memory => pixels ?? throw new ObjectDisposedException(nameof(RgbImage));

    /// <summary>
    /// Reads a PNG file of any kind, or a JPEG file where libjpeg-turbo is installed; the content tells, not the name. Transparency is
    /// dropped without blending, as PIL's <c>convert("RGB")</c> does, and the EXIF orientation is applied, as diffusers' <c>load_image</c> does.
    /// </summary>
    /// <exception cref="InvalidImageException">It is missing, damaged, too large or another kind of file.</exception>
    public static RgbImage Load(string path) => ImageFile.Decode(path, ImageFile.Read(path));

    /// <summary>Reads a PNG or JPEG file from memory, as <see cref="Load"/> does from disk.</summary>
    /// <exception cref="InvalidImageException">It is damaged, too large or another kind of file.</exception>
    public static RgbImage Decode(ReadOnlyMemory<byte> file) => ImageFile.Decode("the picture", file);

    /// <summary>The picture in another size, bit-exact with Pillow's <c>Image.resize</c>. Its shape is not kept; see <see cref="ResizeTo"/>.</summary>
    /// <param name="width">Pixels per row, 1 to <see cref="MaxSide"/>.</param>
    /// <param name="height">Rows, 1 to <see cref="MaxSide"/>.</param>
    /// <param name="filter">How pixels between pixels are found.</param>
    /// <exception cref="ArgumentException">The size is out of range.</exception>
    public RgbImage Resize(int width, int height, ResampleFilter filter = ResampleFilter.Lanczos)
    {
        CheckSize(width, height);
        return new RgbImage(width, height, Resampler.Resize(Pixels, Width, Height, 3, width, height, filter));
    }

    /// <summary>The picture in another size and shape, as diffusers' VaeImageProcessor does it.</summary>
    /// <param name="width">Pixels per row, 1 to <see cref="MaxSide"/>.</param>
    /// <param name="height">Rows, 1 to <see cref="MaxSide"/>.</param>
    /// <param name="mode">What happens if the shapes differ.</param>
    /// <exception cref="ArgumentException">The size is out of range.</exception>
    public RgbImage ResizeTo(int width, int height, ResizeMode mode)
    {
        CheckSize(width, height);
        return Reshaper.Reshape(this, width, height, mode);
    }

    /// <summary>A part of the picture.</summary>
    /// <param name="left">The first column.</param>
    /// <param name="top">The first row.</param>
    /// <param name="width">Columns, 1 or more.</param>
    /// <param name="height">Rows, 1 or more.</param>
    /// <exception cref="ArgumentException">The part is empty or not inside the picture.</exception>
    public RgbImage Crop(int left, int top, int width, int height)
    {
        if (left < 0 || top < 0 || width < 1 || height < 1 || (long)left + width > Width || (long)top + height > Height)
        {
            throw new ArgumentException($"The part {width}x{height} at ({left}, {top}) is not inside the picture of {Width}x{Height} pixels.");
        }

        byte[] part = new byte[width * height * 3];
        for (int y = 0; y < height; y++)
        {
            Pixels.Slice((((top + y) * Width) + left) * 3, width * 3).CopyTo(part.AsSpan(y * width * 3));
        }

        return new RgbImage(width, height, part);
    }

    /// <summary>
    /// The brightness of every pixel, row by row: height * width bytes, 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, as PIL's
    /// <c>convert("L")</c> (ITU-R BT.601).
    /// </summary>
    public byte[] ToLuma()
    {
        ReadOnlySpan<byte> rgb = Pixels;
        byte[] luma = new byte[Width * Height];
        for (int i = 0; i < luma.Length; i++)
        {
            luma[i] = (byte)(((rgb[i * 3] * 19595) + (rgb[(i * 3) + 1] * 38470) + (rgb[(i * 3) + 2] * 7471) + 0x8000) >> 16);
        }

        return luma;
    }

    /// <summary>The picture as a PNG file (8-bit RGB).</summary>
    /// <param name="parameters">How it was made, to be stored under the key "parameters"; null: nothing is stored.</param>
    public byte[] Encode(GenerationParameters? parameters = null)
        => PngWriter.Write(this, parameters is null ? [] : [new(GenerationParameters.PngKey, parameters.ToString())]);

    /// <summary>The picture as a PNG file (8-bit RGB) with text chunks: tEXt where Latin-1 is enough, iTXt elsewhere.</summary>
    /// <param name="texts">Keys of 1 to 79 Latin-1 characters, and texts.</param>
    public byte[] Encode(IReadOnlyList<KeyValuePair<string, string>> texts) => PngWriter.Write(this, texts);

    /// <summary>
    /// Writes the picture as PNG, whatever the name ends in. The file appears complete or not at all: it is written under another
    /// name in the same folder and then renamed; a file of that name is replaced.
    /// </summary>
    /// <param name="path">Where to.</param>
    /// <param name="parameters">How it was made, to be stored under the key "parameters"; null: nothing is stored.</param>
    /// <exception cref="IOException">It could not be written; the message names the path and says why. No half file is left.</exception>
    public void Save(string path, GenerationParameters? parameters = null) => AtomicFile.Write(path, Encode(parameters));

    /// <summary>Lets go of the pixels. Not needed otherwise: nothing but managed memory is held.</summary>
    public void Dispose() => pixels = null;

    /// <summary>Refuses sizes that no picture may have.</summary>
    /// <exception cref="ArgumentException">The size is out of range.</exception>
    internal static void CheckSize(long width, long height)
    {
        if (!IsAcceptedSize(width, height))
        {
            throw new ArgumentException($"A picture of {width}x{height} pixels is out of range: sides are 1 to {MaxSide} and at most {MaxPixels} pixels in all.");
        }
    }

    /// <summary>True if a picture may have this size.</summary>
    internal static bool IsAcceptedSize(long width, long height)
        => width is >= 1 and <= MaxSide && height is >= 1 and <= MaxSide && width * height <= MaxPixels;
}
