namespace StableDiffusion.Cli.Doctor;

/// <summary>What <c>doctor</c> found: facts under headings, and the problems that keep a picture from being drawn.</summary>
internal sealed class Diagnosis
{
    private readonly List<(string Heading, string Name, string Value)> _facts = [];
    private readonly List<string> _problems = [];

    /// <summary>The facts in the order they were found.</summary>
    internal IReadOnlyList<(string Heading, string Name, string Value)> Facts => _facts;

    /// <summary>One line per problem: what, and what to do.</summary>
    internal IReadOnlyList<string> Problems => _problems;

    internal void Fact(string heading, string name, string value) => _facts.Add((heading, name, value));

    internal void Problem(string text) => _problems.Add(text);
}
