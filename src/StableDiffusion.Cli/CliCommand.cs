using System.CommandLine;

namespace StableDiffusion.Cli;

/// <summary>A command of the program.</summary>
internal abstract class CliCommand(string name, string description) : Command(name, description)
{
    /// <summary>What <c>--help</c> adds below the options: examples and what an option's description has no room for.</summary>
    internal abstract string Notes { get; }
}
