using System.CommandLine;

namespace StableDiffusion.Cli.Generate;

/// <summary>The options for how a picture is drawn beyond one plain pass: variations, guidance in a part of the steps, a larger second pass, a refiner.</summary>
internal sealed class PassOptions
{
    internal Option<double?> VariationStrength { get; } = OptionFactory.Double("--variation-strength", "X",
        "Start from noise between that of --seed (0) and that of --variation-seed (1): pictures like the seed's own. With --count, the variation seed counts up instead of the seed. [default: 0]", (0, 1));

    internal Option<ulong?> VariationSeed { get; } = OptionFactory.Parsed<ulong?>("--variation-seed", "SEED",
        "The second seed; needs --variation-strength. [default: a random one]",
        (string text, out ulong? seed) =>
        {
            bool valid = ulong.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out ulong number);
            seed = valid ? number : null;
            return valid;
        }, $"is not a whole number from 0 to {ulong.MaxValue}");

    internal Option<(double Start, double End)?> GuidanceInterval { get; } = OptionFactory.Parsed<(double, double)?>("--guidance-interval", "START-END",
        "Guide in this share of the steps only, as 0.1-0.8; the others take half the time. [default: 0-1]", TryParseInterval, "is not a part of 0 to 1, such as 0.1-0.8");

    internal Option<double?> Hires { get; } = OptionFactory.Double("--hires", "SCALE",
        "Then enlarge the latents by this factor, above 1 and at most 8, and draw once more at that size, which keeps large pictures in one piece. [default: no second pass]", (1, 8));

    internal Option<double?> HiresStrength { get; } = OptionFactory.Double("--hires-strength", "X", "Second pass: as --strength, 0 to 1. [default: 0.7]", (0, 1));

    internal Option<int?> HiresSteps { get; } = OptionFactory.OptionalInt("--hires-steps", "N", "Second pass: steps of its whole schedule, of which --hires-strength is run, 1 to 1000. [default: --steps]", 1);

    internal Option<string?> Refiner { get; } = OptionFactory.Text("--refiner", "PATH", "SDXL: the model that draws the last part of the steps, usually stable-diffusion-xl-refiner-1.0. Both models are in memory.");

    internal Option<double?> RefinerStart { get; } = OptionFactory.Double("--refiner-start", "X", "Where the --refiner takes over, as a share of the schedule above 0 and below 1. [default: 0.8]", (0, 1));

    internal Option<double?> AestheticScore { get; } = OptionFactory.Double("--aesthetic-score", "X", "SDXL refiner: how good the picture is said to be, about 1 to 10. [default: 6]", null);

    internal Option<double?> NegativeAestheticScore { get; } = OptionFactory.Double("--negative-aesthetic-score", "X", "SDXL refiner: --aesthetic-score for the negative half. [default: 2.5]", null);

    internal IEnumerable<Option> All => [VariationStrength, VariationSeed, GuidanceInterval, Hires, HiresStrength, HiresSteps, Refiner, RefinerStart, AestheticScore, NegativeAestheticScore];

    private static bool TryParseInterval(string text, out (double, double)? interval)
    {
        string[] ends = text.Split('-', StringSplitOptions.TrimEntries);
        double end = 0;
        bool valid = ends.Length == 2 && Units.TryParseDouble(ends[0], out double start) && Units.TryParseDouble(ends[1], out end) && start >= 0 && start <= end && end <= 1;
        interval = valid ? (double.Parse(ends[0], System.Globalization.CultureInfo.InvariantCulture), end) : null;
        return valid;
    }
}
