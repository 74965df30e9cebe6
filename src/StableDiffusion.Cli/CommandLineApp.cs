using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Reflection;
using StableDiffusion.Cli.Bench;
using StableDiffusion.Cli.Convert;
using StableDiffusion.Cli.Doctor;
using StableDiffusion.Cli.Generate;
using StableDiffusion.Cli.Inspect;

namespace StableDiffusion.Cli;

/// <summary>The program: parses, runs one command, and turns every failure into one line and an exit code.</summary>
internal static class CommandLineApp
{
    /// <summary>The program's name in help and examples.</summary>
    internal const string Name = "StableDiffusion.Cli";

    /// <summary>The version of this build.</summary>
    internal static string Version { get; } =
        typeof(CommandLineApp).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    /// <summary>Runs a command line with redirected output, as a test or a script sees it.</summary>
    internal static int Run(IReadOnlyList<string> args, TextWriter output, TextWriter error, CancellationToken cancellation = default) =>
        Run(args, new Terminal(output, error), cancellation);

    /// <summary>Runs a command line.</summary>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    internal static int Run(IReadOnlyList<string> args, Terminal terminal, CancellationToken cancellation)
    {
        try
        {
            RootCommand root = CreateRoot(terminal, cancellation);
            // A prompt may begin with '@': it is no file of arguments.
            ParseResult parsed = root.Parse(args.Count == 0 ? ["--help"] : args, new ParserConfiguration { ResponseFileTokenReplacer = null });
            if (parsed.Action is ParseErrorAction)
            {
                // A word that is no command also gives "no command was given", first and to no one's help.
                int first = parsed.CommandResult.Command is RootCommand && parsed.Errors.Count > 1 ? 1 : 0;
                throw CliException.Usage($"{parsed.Errors[first].Message.TrimEnd('.')}; see {HelpOf(parsed)}");
            }
            return parsed.Invoke(new InvocationConfiguration
            {
                Output = terminal.Out,
                Error = terminal.Err,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
        }
        catch (Exception failure)
        {
            return Failures.Report(failure, terminal);
        }
    }

    /// <summary>The command tree, as <see cref="Run(IReadOnlyList{string}, Terminal, CancellationToken)"/> uses it.</summary>
    internal static RootCommand CreateRoot(Terminal terminal, CancellationToken cancellation)
    {
        var root = new RootCommand("Draws pictures from text with Stable Diffusion models, on the CPU or a GPU, without Python.")
        {
            new GenerateCommand(terminal, cancellation),
            new InspectCommand(terminal),
            new ConvertCommand(terminal, cancellation),
            new BenchCommand(terminal, cancellation),
            new DoctorCommand(terminal),
        };
        root.HelpName = Name;
        root.Options.OfType<HelpOption>().Single().Action = new HelpWithNotes(terminal);
        root.Options.OfType<VersionOption>().Single().Action = new PrintVersion(terminal);
        return root;
    }

    private static string HelpOf(ParseResult parsed) =>
        parsed.CommandResult.Command is RootCommand ? $"'{Name} --help'" : $"'{Name} {parsed.CommandResult.Command.Name} --help'";

    private sealed class PrintVersion(Terminal terminal) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            terminal.Out.WriteLine(Version);
            return ExitCode.Ok;
        }
    }
}
