using StableDiffusion.Schedulers;

namespace StableDiffusion.Cli.Generate;

/// <summary>The names that <c>--scheduler</c> takes, in a form that fits on a screen: what may follow a name is said once.</summary>
internal static class SchedulerNames
{
    private static readonly string[] Endings = ["Karras", "Exponential", "Beta", "SGM Uniform"];

    /// <summary>Names that are no other name with an ending, grouped by the endings they may have.</summary>
    private static IEnumerable<IGrouping<string, string>> Groups => Scheduler.Names
        .Where(name => !Endings.Any(ending => name.EndsWith($" {ending}", StringComparison.Ordinal)))
        .GroupBy(name => string.Join(", ", Endings.Where(ending => Scheduler.Names.Contains($"{name} {ending}"))));

    /// <summary>For the help.</summary>
    internal static string Help(string indent, int width) => string.Join(Environment.NewLine, Groups.Select(group =>
        TextWrap.Wrap([.. group], indent, width) + (group.Key.Length == 0 ? "" : $"{Environment.NewLine}{indent}{indent}these may be followed by {group.Key}")));

    /// <summary>For the message about a name that does not exist.</summary>
    internal static string OneLine => string.Join("; ", Groups.Select(group => string.Join(", ", group) + (group.Key.Length == 0 ? "" : $" (also with {group.Key})")));

    /// <summary>The existing name that is most like another one.</summary>
    internal static string NearestTo(string name) => Scheduler.Names.MinBy(known => EditDistance.Between(known.ToUpperInvariant(), name.ToUpperInvariant()))!;
}
