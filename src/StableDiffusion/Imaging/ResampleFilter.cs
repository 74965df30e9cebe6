namespace StableDiffusion.Imaging;

/// <summary>How pixels between pixels are found when a picture changes its size; the names and the arithmetic are Pillow's (PIL.Image.Resampling).</summary>
public enum ResampleFilter
{
    /// <summary>The pixel under the new pixel's centre.</summary>
    Nearest,

    /// <summary>A triangle, 2 pixels wide (wider by the factor when a picture shrinks, as the next two).</summary>
    Bilinear,

    /// <summary>Keys' cubic with a = -0.5, 4 pixels wide.</summary>
    Bicubic,

    /// <summary>A windowed sinc, 6 pixels wide; what diffusers' image processors use.</summary>
    Lanczos,
}
