namespace StableDiffusion.Pipelines;

/// <summary>How latents are enlarged, as torch.nn.functional.interpolate does without aligned corners and without antialiasing.</summary>
public enum LatentUpscale
{
    /// <summary>The nearest cell, mode "nearest".</summary>
    Nearest,
    /// <summary>Mode "bilinear".</summary>
    Bilinear,
    /// <summary>Mode "bicubic".</summary>
    Bicubic,
}

/// <summary>
/// A second pass at a larger size, the "hires fix" of the web UIs: the final latents are enlarged, noise of the same generators is added (their next
/// draw), and they are denoised again as in image to image. Batch, prompts, guidance and scheduler are those of the request.
/// </summary>
public sealed record HiresPass
{
    /// <summary>Size of the second pass over that of the first, above 1, at most 8; sides are rounded down to a multiple of 8. Not used with <see cref="Width"/> and <see cref="Height"/>.</summary>
    public double Scale { get; init; } = 2;

    /// <summary>Width of the final picture in pixels, a multiple of 8; give both sides or none.</summary>
    public int? Width { get; init; }

    /// <summary>Height of the final picture in pixels, a multiple of 8; give both sides or none.</summary>
    public int? Height { get; init; }

    /// <summary>Steps of the whole schedule of the second pass, of which <see cref="Strength"/> is run; null: as many as in the first.</summary>
    public int? Steps { get; init; }

    /// <summary>0..1: share of the schedule that is run, as <see cref="GenerationRequest.Strength"/>.</summary>
    public double Strength { get; init; } = 0.7;

    /// <summary>How the latents are enlarged.</summary>
    public LatentUpscale Upscale { get; init; } = LatentUpscale.Bilinear;

    /// <summary>Size of the second pass for a first pass of that size.</summary>
    internal (int Height, int Width) SizeFor(int height, int width, int multiple)
    {
        int Scaled(int side) => (int)(side * Scale) / multiple * multiple;
        return (Height ?? Scaled(height), Width ?? Scaled(width));
    }

    /// <summary>What cannot be done, as a sentence; null for a pass that can be.</summary>
    internal string? Problem(int multiple)
    {
        bool Bad(int? side) => side is int pixels && (pixels < multiple || pixels % multiple != 0 || pixels > 16384);
        return Scale is not (> 1 and <= 8) ? $"hires scale: {Scale} is not above 1 and at most 8"
            : (Width is null) != (Height is null) ? "hires size: give both width and height, or neither"
            : Bad(Width) || Bad(Height) ? $"hires size: {Width}x{Height} is not made of positive multiples of {multiple} up to 16384"
            : Steps is < 1 or > 1000 ? $"hires steps: {Steps} is not between 1 and 1000"
            : Strength is not (>= 0 and <= 1) ? $"hires strength: {Strength} is not between 0 and 1"
            : null;
    }
}
