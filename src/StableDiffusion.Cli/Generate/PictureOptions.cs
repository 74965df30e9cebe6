using System.CommandLine;
using StableDiffusion.Imaging;

namespace StableDiffusion.Cli.Generate;

/// <summary>The options for pictures that a generation starts from.</summary>
internal sealed class PictureOptions
{
    internal Option<string?> Image { get; } = OptionFactory.Text("--image", "FILE",
        "Start from this picture, PNG or JPEG, instead of from noise alone: image to image; with --mask, inpainting. Models for inpainting, instructions and depth need one. Its size, rounded down to a multiple of 8, is the default of --size.", "-i");

    internal Option<double?> Strength { get; } = OptionFactory.Double("--strength", "X",
        "How much of the picture to change, 0 (nothing) to 1 (all of it): that share of the steps is run. [default: 0.8, SDXL 0.3; with --mask 1, SDXL 0.9999]", (0, 1));

    internal Option<string?> Mask { get; } = OptionFactory.Text("--mask", "FILE",
        "Paint only where this picture is white, and keep the rest: inpainting. It has the size of the --image; from 50 % grey up counts as white.");

    internal Option<ResizeMode?> ResizeMode { get; } = OptionFactory.Parsed<ResizeMode?>("--resize-mode", "MODE",
        "What to do with an --image of another shape than --size: stretch it, crop it evenly on both sides, or fill what it does not cover with the colours of its edges. The mask follows it. [default: stretch]",
        TryParseMode, "is not stretch, crop or fill");

    internal Option<string?> Depth { get; } = OptionFactory.Text("--depth", "FILE", "Depth models: how near each part of the --image is, as a picture in which white is near.");

    internal Option<double?> ImageGuidance { get; } = OptionFactory.Double("--image-guidance-scale", "X",
        "Instruction models (InstructPix2Pix): how closely to follow the --image; below 1 there is no guidance at all. [default: 1.5]", null);

    internal Option<OutpaintMargins?> Outpaint { get; } = OptionFactory.Parsed<OutpaintMargins?>("--outpaint", "LEFT,TOP,RIGHT,BOTTOM",
        "Extend the --image by so many pixels on each side and paint what is new, as 0,0,64,0.", OutpaintMargins.TryParse,
        "is not four amounts of pixels, 0 or more and not all 0, such as 0,0,64,0");

    internal IEnumerable<Option> All => [Image, Strength, Mask, ResizeMode, Depth, ImageGuidance, Outpaint];

    private static bool TryParseMode(string text, out ResizeMode? mode)
    {
        mode = text.ToLowerInvariant() switch
        {
            "stretch" => Imaging.ResizeMode.Stretch,
            "crop" => Imaging.ResizeMode.Crop,
            "fill" => Imaging.ResizeMode.Fill,
            _ => null,
        };
        return mode is not null;
    }
}

/// <summary>What <c>--outpaint</c> adds on each side, in pixels.</summary>
internal sealed record OutpaintMargins(int Left, int Top, int Right, int Bottom)
{
    internal static bool TryParse(string text, out OutpaintMargins? margins)
    {
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        var amounts = new int[4];
        bool valid = parts.Length == 4;
        for (int i = 0; valid && i < 4; i++)
        {
            valid = Units.TryParseInt(parts[i], out amounts[i]) && amounts[i] is >= 0 and <= RgbImage.MaxSide;
        }
        valid &= amounts.Any(amount => amount > 0);
        margins = valid ? new OutpaintMargins(amounts[0], amounts[1], amounts[2], amounts[3]) : null;
        return valid;
    }
}
