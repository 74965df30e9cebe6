using System.Diagnostics.CodeAnalysis;
using StableDiffusion.Imaging;

namespace StableDiffusion.Pipelines;

/// <summary>
/// What a generation starts from: one picture for all images, or one per image; of fewer, all in turn again and again, as in diffusers, whatever prompt an
/// image belongs to. diffusers: the argument image, as PIL pictures, as pixels or as latents.
/// </summary>
public sealed record SourceImage
{
    private readonly IReadOnlyList<RgbImage>? _pictures;
    private readonly FloatTensor? _pixels;

    private SourceImage(IReadOnlyList<RgbImage>? pictures, FloatTensor? pixels, FloatTensor? latents) => (_pictures, _pixels, Latents) = (pictures, pixels, latents);

    /// <summary>Pictures of one size.</summary>
    /// <exception cref="ArgumentException">None, or of different sizes.</exception>
    public static SourceImage FromPictures(params IReadOnlyList<RgbImage> pictures)
    {
        ArgumentNullException.ThrowIfNull(pictures);
        PictureValues.RequireOneSize("image", pictures);
        return new SourceImage([.. pictures], null, null);
    }

    /// <summary>Pixels <c>[B,3,H,W]</c> of 0..1; their size is not changed.</summary>
    /// <exception cref="ArgumentException">Another shape.</exception>
    public static SourceImage FromPixels(FloatTensor pixels)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        return pixels.Shape.Count == 4 && pixels[1] == 3
            ? new SourceImage(null, pixels, null)
            : throw new ArgumentException($"image: pixels are [B,3,H,W], not {pixels}");
    }

    /// <summary>Latents <c>[B,C,h,w]</c> that were multiplied by scaling_factor, as <see cref="GenerationResult.Latents"/> are.</summary>
    /// <exception cref="ArgumentException">Another number of dimensions.</exception>
    public static SourceImage FromLatents(FloatTensor latents)
    {
        ArgumentNullException.ThrowIfNull(latents);
        return latents.Shape.Count == 4 ? new SourceImage(null, null, latents) : throw new ArgumentException($"image: latents are [B,C,h,w], not {latents}");
    }

    /// <summary>A single picture.</summary>
    [return: NotNullIfNotNull(nameof(picture))]
    public static implicit operator SourceImage?(RgbImage? picture) => picture is null ? null : FromPictures(picture);

    /// <summary>How a picture of another shape gets the generation's size; a mask follows it. diffusers: resize_mode.</summary>
    public ResizeMode ResizeMode { get; init; } = ResizeMode.Stretch;

    /// <summary>How many there are.</summary>
    internal int Count => _pictures?.Count ?? (_pixels ?? Latents)![0];

    /// <summary>The latents, where those were given.</summary>
    internal FloatTensor? Latents { get; }

    /// <summary>Size in pixels as given.</summary>
    internal (int Height, int Width) Size(int vaeScale) => _pictures is [RgbImage picture, ..]
        ? (picture.Height, picture.Width)
        : _pixels is not null ? (_pixels[2], _pixels[3]) : (Latents![2] * vaeScale, Latents[3] * vaeScale);

    /// <summary>Pixels <c>[B,3,height,width]</c> of -1..1.</summary>
    /// <exception cref="ArgumentException">Pixels of another size; only pictures are resized.</exception>
    internal FloatTensor ToPixels(int height, int width)
    {
        FloatTensor unit = _pictures is not null
            ? PictureValues.Rgb([.. _pictures.Select(picture => picture.ResizeTo(width, height, ResizeMode))])
            : PictureValues.RequireSize("image", _pixels!, height, width);
        return unit.Map(value => (2 * value) - 1);
    }
}
