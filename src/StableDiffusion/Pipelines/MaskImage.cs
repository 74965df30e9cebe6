using System.Diagnostics.CodeAnalysis;
using StableDiffusion.Imaging;

namespace StableDiffusion.Pipelines;

/// <summary>
/// What of a picture is painted anew: white is painted, black is kept; in between, half and above counts as white. One for all images, or one
/// per image. diffusers: mask_image.
/// </summary>
public sealed record MaskImage
{
    private readonly RgbImage? _picture;
    private readonly FloatTensor? _values;

    private MaskImage(RgbImage? picture, FloatTensor? values) => (_picture, _values) = (picture, values);

    /// <summary>The luma of a picture of the image's size.</summary>
    public static MaskImage FromPicture(RgbImage picture)
    {
        ArgumentNullException.ThrowIfNull(picture);
        return new MaskImage(picture, null);
    }

    /// <summary>Values <c>[B,1,H,W]</c> of 0..1, of the image's size.</summary>
    /// <exception cref="ArgumentException">Another shape.</exception>
    public static MaskImage FromValues(FloatTensor values)
    {
        ArgumentNullException.ThrowIfNull(values);
        return values.Shape.Count == 4 && values[1] == 1 ? new MaskImage(null, values) : throw new ArgumentException($"mask: values are [B,1,H,W], not {values}");
    }

    /// <summary>The luma of a picture.</summary>
    [return: NotNullIfNotNull(nameof(picture))]
    public static implicit operator MaskImage?(RgbImage? picture) => picture is null ? null : FromPicture(picture);

    /// <summary>How many there are.</summary>
    internal int Count => _values?[0] ?? 1;

    /// <summary>Size in pixels as given.</summary>
    internal (int Height, int Width) Size => _picture is null ? (_values![2], _values[3]) : (_picture.Height, _picture.Width);

    /// <summary>0 or 1 per pixel, <c>[B,1,height,width]</c>.</summary>
    internal FloatTensor ToBinary(int height, int width, ResizeMode mode)
    {
        FloatTensor values = _picture is null
            ? PictureValues.RequireSize("mask", _values!, height, width)
            : PictureValues.Luma(_picture.ResizeTo(width, height, mode));
        return values.Map(value => value < 0.5f ? 0 : 1);
    }
}
