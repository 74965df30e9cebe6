using System.CommandLine;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>How the pictures of a call are drawn beyond one plain pass, checked as far as it can be without the models.</summary>
internal sealed class PassPlan
{
    private const double UsualRefinerStart = 0.8;

    private readonly double _variationStrength;
    private readonly ulong _variationSeed;
    private readonly (double Start, double End)? _guidanceInterval;
    private readonly HiresPass? _hires;
    private readonly double? _aestheticScore, _negativeAestheticScore;

    private PassPlan(ParseResult parsed, PassOptions options)
    {
        bool Given(Option option) => parsed.GetResult(option) is { Implicit: false };
        void Need(Option option, Option needed, string example)
        {
            if (Given(option) && !Given(needed))
            {
                throw CliException.Usage($"{option.Name} needs {needed.Name}, such as {needed.Name} {example}");
            }
        }
        Need(options.VariationSeed, options.VariationStrength, "0.2");
        Need(options.HiresStrength, options.Hires, "2");
        Need(options.HiresSteps, options.Hires, "2");
        Need(options.RefinerStart, options.Refiner, "stable-diffusion-xl-refiner-1.0");
        if (Given(options.Hires) && Given(options.Refiner))
        {
            throw CliException.Usage("--hires together with --refiner: give one or the other");
        }
        _variationStrength = parsed.GetValue(options.VariationStrength) ?? 0;
        _variationSeed = parsed.GetValue(options.VariationSeed) ?? (ulong)System.Random.Shared.NextInt64(1L << 32);
        _guidanceInterval = parsed.GetValue(options.GuidanceInterval);
        Refiner = parsed.GetValue(options.Refiner);
        RefinerStart = parsed.GetValue(options.RefinerStart) ?? UsualRefinerStart;
        if (RefinerStart is not (> 0 and < 1))
        {
            throw CliException.Usage(Units.Text($"--refiner-start: {RefinerStart} is not above 0 and below 1"));
        }
        (_aestheticScore, _negativeAestheticScore) = (parsed.GetValue(options.AestheticScore), parsed.GetValue(options.NegativeAestheticScore));
        if (parsed.GetValue(options.Hires) is double scale)
        {
            _hires = scale > 1
                ? new HiresPass { Scale = scale, Steps = parsed.GetValue(options.HiresSteps) }
                : throw CliException.Usage(Units.Text($"--hires: {scale} is not above 1 and at most 8"));
            _hires = parsed.GetValue(options.HiresStrength) is double strength ? _hires with { Strength = strength } : _hires;
        }
        FirstSdxlOption = new Option[] { options.Refiner, options.AestheticScore, options.NegativeAestheticScore }.FirstOrDefault(Given)?.Name;
    }

    /// <summary>Whether all pictures of a prompt keep the seed, and the variation seed counts up.</summary>
    internal bool Varies => _variationStrength > 0;

    /// <summary>The refiner as it was named, if any.</summary>
    internal string? Refiner { get; }

    /// <summary>The share of the schedule at which it takes over.</summary>
    internal double RefinerStart { get; }

    /// <summary>An option that only SDXL has, if one was given.</summary>
    internal string? FirstSdxlOption { get; }

    /// <summary>Reads the options.</summary>
    /// <exception cref="CliException">Options that do not go together.</exception>
    internal static PassPlan Read(ParseResult parsed, PassOptions options) => new(parsed, options);

    /// <summary>The request with all this in it.</summary>
    internal GenerationRequest AddTo(GenerationRequest request) => request with
    {
        GuidanceInterval = _guidanceInterval,
        Hires = _hires,
        AestheticScore = _aestheticScore ?? request.AestheticScore,
        NegativeAestheticScore = _negativeAestheticScore ?? request.NegativeAestheticScore,
    };

    /// <summary>The variation of a batch whose first picture is that one; null for none. The pictures after it take the next seeds.</summary>
    internal Variation? VariationFrom(PlannedImage first) => Varies ? new Variation(unchecked(_variationSeed + (ulong)first.Index), _variationStrength) : null;
}
