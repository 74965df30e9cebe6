using System.CommandLine;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Cli.Generate;

/// <summary>A schedule of one's own: timesteps or noise levels as they were given, or those of Align Your Steps.</summary>
/// <param name="Values">The list; null for Align Your Steps.</param>
/// <param name="Sigmas">Whether they are noise levels.</param>
internal sealed record ScheduleChoice(IReadOnlyList<double>? Values, bool Sigmas)
{
    private const string AlignYourStepsName = "ays";
    private const int UsualAlignYourSteps = 10;

    /// <summary>"ays" or numbers between commas, each below the one before.</summary>
    internal static bool TryParse(string text, bool sigmas, out ScheduleChoice? choice)
    {
        choice = null;
        if (text.Trim().Equals(AlignYourStepsName, StringComparison.OrdinalIgnoreCase))
        {
            choice = new ScheduleChoice(null, sigmas);
            return true;
        }
        var values = new List<double>();
        foreach (string part in text.Split(',', StringSplitOptions.TrimEntries))
        {
            if (!Units.TryParseDouble(part, out double value) || !double.IsFinite(value) || value < 0 || (values.Count > 0 && value >= values[^1]))
            {
                return false;
            }
            values.Add(value);
        }
        choice = new ScheduleChoice(values, sigmas);
        return values.Count >= (sigmas ? 2 : 1);
    }

    /// <summary>Reads the options.</summary>
    /// <returns>Null if neither is given.</returns>
    /// <exception cref="CliException">Both are given, or --steps says something else.</exception>
    internal static ScheduleChoice? Read(ParseResult parsed, GenerateOptions options)
    {
        ScheduleChoice? timesteps = parsed.GetValue(options.Schedule.Timesteps), sigmas = parsed.GetValue(options.Schedule.Sigmas);
        if (timesteps is not null && sigmas is not null)
        {
            throw CliException.Usage("--timesteps together with --sigmas: give one or the other");
        }
        ScheduleChoice? choice = timesteps ?? sigmas;
        int steps = parsed.GetValue(options.Steps);
        if (choice?.Values is { } values && StepsGiven(parsed, options) && steps != values.Count - (choice.Sigmas ? 1 : 0))
        {
            throw CliException.Usage($"--steps: {steps} does not fit {(choice.Sigmas ? "--sigmas" : "--timesteps")}, which has {values.Count - (choice.Sigmas ? 1 : 0)}; leave --steps out");
        }
        if (choice is { Values: null } && StepsGiven(parsed, options) && steps > AlignYourSteps.MaxSteps)
        {
            throw CliException.Usage($"--steps: {steps} is too many for Align Your Steps, which takes 1 to {AlignYourSteps.MaxSteps}");
        }
        return choice;
    }

    /// <summary>Steps for the request before the model is known.</summary>
    internal static int StepsOf(ParseResult parsed, GenerateOptions options, ScheduleChoice? choice) =>
        choice is { Values: null } && !StepsGiven(parsed, options) ? UsualAlignYourSteps : parsed.GetValue(options.Steps);

    /// <summary>The request with this schedule.</summary>
    /// <param name="request">Its steps are those that Align Your Steps is asked for.</param>
    /// <param name="xl">Whether the model is an SDXL one.</param>
    internal GenerationRequest AddTo(GenerationRequest request, bool xl) => Sigmas
        ? request with { Sigmas = Values ?? AlignYourSteps.Sigmas(request.Steps, xl) }
        : request with { Timesteps = Values ?? AlignYourSteps.Timesteps(request.Steps, xl) };

    private static bool StepsGiven(ParseResult parsed, GenerateOptions options) => parsed.GetResult(options.Steps) is { Implicit: false };
}
