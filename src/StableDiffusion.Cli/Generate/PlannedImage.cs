namespace StableDiffusion.Cli.Generate;

/// <summary>One picture to draw.</summary>
/// <param name="Index">0-based, over all pictures of the call.</param>
/// <param name="PromptIndex">Which prompt, 0-based.</param>
/// <param name="Prompt">Its text.</param>
/// <param name="Seed">The seed that alone draws it again.</param>
internal sealed record PlannedImage(int Index, int PromptIndex, string Prompt, ulong Seed)
{
    /// <summary>
    /// The pictures of a call: each prompt with each seed. One seed and a count n stand for the seeds seed .. seed+n-1, the same for every prompt,
    /// so that prompts can be compared on equal noise.
    /// </summary>
    /// <param name="prompts">What to draw.</param>
    /// <param name="seeds">As given.</param>
    /// <param name="count">Pictures per prompt and seed.</param>
    /// <param name="sameSeed">Whether all of the count keep the seed, since something else tells them apart.</param>
    internal static IReadOnlyList<PlannedImage> Plan(IReadOnlyList<string> prompts, IReadOnlyList<ulong> seeds, int count, bool sameSeed = false)
    {
        if (count > 1 && seeds.Count > 1)
        {
            throw CliException.Usage($"--count {count} and {seeds.Count} seeds: give one seed with --count (image i has seed + i), or several seeds without it");
        }
        ulong[] all = count > 1 ? [.. Enumerable.Range(0, count).Select(i => unchecked(seeds[0] + (ulong)(sameSeed ? 0 : i)))] : [.. seeds];
        return [.. prompts.SelectMany((prompt, p) => all.Select((seed, s) => new PlannedImage((p * all.Length) + s, p, prompt, seed)))];
    }
}
