using System.CommandLine;

namespace StableDiffusion.Cli.Generate;

/// <summary>SDXL's micro-conditioning: what the picture is said to have been before it was cropped (Podell et al. 2023, arXiv 2307.01952).</summary>
internal sealed class SdxlOptions
{
    internal Option<(int Width, int Height)?> OriginalSize { get; } = Pair("--original-size", "WxH", "SDXL: the size the picture is said to have had before cropping. [default: its size]", 1);

    internal Option<(int Left, int Top)?> CropTopLeft { get; } = Pair("--crop", "LEFTxTOP", "SDXL: the crop corner the picture is said to have. [default: 0x0]", 0);

    internal Option<(int Width, int Height)?> TargetSize { get; } = Pair("--target-size", "WxH", "SDXL: the size the picture is said to have. [default: its size]", 1);

    internal Option<(int Width, int Height)?> NegativeOriginalSize { get; } =
        Pair("--negative-original-size", "WxH", "SDXL: --original-size for the negative half; used with --negative-target-size. [default: the same]", 1);

    internal Option<(int Left, int Top)?> NegativeCropTopLeft { get; } = Pair("--negative-crop", "LEFTxTOP", "SDXL: --crop for the negative half. [default: 0x0]", 0);

    internal Option<(int Width, int Height)?> NegativeTargetSize { get; } =
        Pair("--negative-target-size", "WxH", "SDXL: --target-size for the negative half. [default: the same]", 1);

    internal IEnumerable<Option> All => [OriginalSize, CropTopLeft, TargetSize, NegativeOriginalSize, NegativeCropTopLeft, NegativeTargetSize];

    private static Option<(int, int)?> Pair(string name, string valueName, string description, int minimum) =>
        OptionFactory.Parsed(name, valueName, description, (string text, out (int, int)? pair) =>
        {
            bool valid = Units.TryParseSize(text, out int first, out int second) && first >= minimum && second >= minimum;
            pair = valid ? (first, second) : null;
            return valid;
        }, $"is not {valueName}, such as 1024x1024 (pixels)");
}
