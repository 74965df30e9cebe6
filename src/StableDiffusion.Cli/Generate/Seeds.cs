using System.Globalization;

namespace StableDiffusion.Cli.Generate;

/// <summary>Reads <c>--seed</c>.</summary>
internal static class Seeds
{
    /// <summary>From "1", "1,2,3" and repetitions; -1 and nothing at all stand for a random one.</summary>
    /// <exception cref="CliException">Something else was given.</exception>
    internal static IReadOnlyList<ulong> Parse(IReadOnlyList<string> texts)
    {
        var seeds = new List<ulong>();
        foreach (string text in texts.SelectMany(t => t.Split(',', StringSplitOptions.TrimEntries)))
        {
            seeds.Add(text == "-1" ? Random()
                : ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed) ? seed
                : throw CliException.Usage($"--seed: '{text}' is not a whole number from 0 to {ulong.MaxValue}; -1 takes a random one"));
        }
        return seeds.Count > 0 ? seeds : [Random()];
    }

    // 32 bits are what PyTorch's CPU generator takes of a seed.
    private static ulong Random() => (ulong)System.Random.Shared.NextInt64(1L << 32);
}
