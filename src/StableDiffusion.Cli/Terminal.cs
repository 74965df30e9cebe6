using Spectre.Console;

namespace StableDiffusion.Cli;

/// <summary>Where a command writes, and what it may assume about it. Results go to <see cref="Out"/>, progress and messages to <see cref="Err"/>.</summary>
internal sealed class Terminal(TextWriter output, TextWriter error, bool outIsTerminal = false, bool errIsTerminal = false)
{
    private readonly HashSet<string> _warned = [];

    /// <summary>Standard output.</summary>
    internal TextWriter Out { get; } = output;

    /// <summary>Standard error.</summary>
    internal TextWriter Err { get; } = error;

    /// <summary>Whether somebody looks at <see cref="Out"/>: then tables have frames and colours.</summary>
    internal bool OutIsTerminal { get; } = outIsTerminal;

    /// <summary>Whether somebody looks at <see cref="Err"/>: then progress is a bar.</summary>
    internal bool ErrIsTerminal { get; } = errIsTerminal;

    /// <summary>Writes a warning to stderr, each text once.</summary>
    internal void Warn(string text)
    {
        if (_warned.Add(text))
        {
            Err.WriteLine($"warning: {text}");
        }
    }

    /// <summary>A Spectre console over one of the writers, which is known to be a terminal.</summary>
    internal static IAnsiConsole Rich(TextWriter writer) => AnsiConsole.Create(new AnsiConsoleSettings
    {
        Out = new AnsiConsoleOutput(writer),
        Interactive = InteractionSupport.Yes,
    });
}
