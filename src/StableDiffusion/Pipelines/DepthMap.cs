using System.Diagnostics.CodeAnalysis;
using StableDiffusion.Imaging;

namespace StableDiffusion.Pipelines;

/// <summary>
/// How far away each part of the picture is, larger is nearer, in any range: what a model such as stabilityai/stable-diffusion-2-depth takes
/// beside the picture. One for all images, or one per image. diffusers: depth_map.
/// </summary>
public sealed record DepthMap
{
    private readonly FloatTensor _values;

    private DepthMap(FloatTensor values) => _values = values;

    /// <summary>The luma of a picture of any size, white is near.</summary>
    public static DepthMap FromPicture(RgbImage picture)
    {
        ArgumentNullException.ThrowIfNull(picture);
        return new DepthMap(PictureValues.Luma(picture));
    }

    /// <summary>Values <c>[B,1,h,w]</c> of any size and range, as a depth estimator gives them.</summary>
    /// <exception cref="ArgumentException">Another shape.</exception>
    public static DepthMap FromValues(FloatTensor values)
    {
        ArgumentNullException.ThrowIfNull(values);
        return values.Shape.Count == 4 && values[1] == 1 ? new DepthMap(values) : throw new ArgumentException($"depth: values are [B,1,h,w], not {values}");
    }

    /// <summary>The luma of a picture.</summary>
    [return: NotNullIfNotNull(nameof(picture))]
    public static implicit operator DepthMap?(RgbImage? picture) => picture is null ? null : FromPicture(picture);

    /// <summary>How many there are.</summary>
    internal int Count => _values[0];

    /// <summary>At the size of the latents, <c>[B,1,height,width]</c>, each entry stretched to -1..1. As diffusers' prepare_depth_map: bicubic.</summary>
    /// <exception cref="ArgumentException">All of one entry is equally far away.</exception>
    internal FloatTensor ToLatentSize(int height, int width)
    {
        FloatTensor resized = Interpolation.Resize(_values, height, width, LatentUpscale.Bicubic);
        var result = new FloatTensor([.. resized.Shape]);
        int size = height * width;
        for (int b = 0; b < resized[0]; b++)
        {
            ReadOnlySpan<float> entry = resized.Values.AsSpan(b * size, size);
            float low = float.PositiveInfinity, high = float.NegativeInfinity;
            foreach (float value in entry)
            {
                (low, high) = (MathF.Min(low, value), MathF.Max(high, value));
            }
            if (!(high > low && float.IsFinite(high - low)))
            {
                throw new ArgumentException($"depth: all values are {low}; a depth map needs near and far parts, in finite numbers");
            }
            for (int i = 0; i < size; i++)
            {
                result.Values[(b * size) + i] = (2 * (entry[i] - low) / (high - low)) - 1;
            }
        }
        return result;
    }
}
