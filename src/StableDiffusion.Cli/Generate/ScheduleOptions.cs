using System.CommandLine;

namespace StableDiffusion.Cli.Generate;

/// <summary>The options for a schedule of one's own.</summary>
internal sealed class ScheduleOptions
{
    internal Option<ScheduleChoice?> Timesteps { get; } = OptionFactory.Parsed<ScheduleChoice?>("--timesteps", "LIST",
        "Timesteps to visit instead of computed ones, descending, as 999,850,736; or ays for the Align Your Steps schedule of the model (10 steps unless --steps says otherwise). Not every scheduler takes them.",
        (string text, out ScheduleChoice? choice) => ScheduleChoice.TryParse(text, sigmas: false, out choice), "is neither ays nor a list of descending numbers, such as 999,850,736");

    internal Option<ScheduleChoice?> Sigmas { get; } = OptionFactory.Parsed<ScheduleChoice?>("--sigmas", "LIST",
        "Noise levels to visit, descending, with the final one, usually 0, at the end, as 14.6,3.2,0.9,0; or ays. For Euler.",
        (string text, out ScheduleChoice? choice) => ScheduleChoice.TryParse(text, sigmas: true, out choice), "is neither ays nor a list of at least two descending numbers, such as 14.6,3.2,0.9,0");

    internal IEnumerable<Option> All => [Timesteps, Sigmas];
}
