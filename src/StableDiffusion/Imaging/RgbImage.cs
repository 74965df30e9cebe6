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
        if (!IsAcceptedSize(width, height))
        {
            throw new ArgumentException($"A picture of {width}x{height} pixels is out of range: sides are 1 to {MaxSide} and at most {MaxPixels} pixels in all.");
        }

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
    /// Reads a PNG file of 8-bit RGB or RGBA. Transparency is dropped without blending, as PIL's <c>convert("RGB")</c> does.
    /// </summary>
    /// <exception cref="InvalidImageException">It is missing, damaged, too large or another kind of file.</exception>
    public static RgbImage Load(string path) => PngReader.ReadImage(path, PngReader.ReadFile(path));

    /// <summary>Reads a PNG file from memory, as <see cref="Load"/> does from disk.</summary>
    /// <exception cref="InvalidImageException">It is damaged, too large or another kind of file.</exception>
    public static RgbImage Decode(ReadOnlyMemory<byte> png) => PngReader.ReadImage("the picture", png);

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

    /// <summary>True if a picture may have this size.</summary>
    internal static bool IsAcceptedSize(long width, long height)
        => width is >= 1 and <= MaxSide && height is >= 1 and <= MaxSide && width * height <= MaxPixels;
}
