using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace StableDiffusion.Cli;

/// <summary>The library's help, then the command's own notes.</summary>
internal sealed class HelpWithNotes(Terminal terminal) : SynchronousCommandLineAction
{
    // Help that is piped into a file or a pager would otherwise have lines of any length.
    private const int WidthWhenRedirected = 120;

    /// <inheritdoc />
    public override bool ClearsParseErrors => true;

    /// <inheritdoc />
    public override int Invoke(ParseResult parseResult)
    {
        var standard = new HelpAction();
        if (!terminal.OutIsTerminal)
        {
            standard.MaxWidth = WidthWhenRedirected;
        }
        standard.Invoke(parseResult);
        TextWriter writer = parseResult.InvocationConfiguration.Output;
        writer.WriteLine((parseResult.CommandResult.Command as CliCommand)?.Notes ?? RootNotes());
        return ExitCode.Ok;
    }

    private static string RootNotes() => $"""
        Examples:
          {CommandLineApp.Name} generate "a red circle on a blue background" --seed 1024 -o circle.png
          {CommandLineApp.Name} generate "a lighthouse at dusk" --model path/to/stable-diffusion-v1-5 --steps 30
          {CommandLineApp.Name} inspect circle.png
          {CommandLineApp.Name} convert model.ckpt model-folder --dtype fp16
          {CommandLineApp.Name} bench --arch sd15 --size 512
          {CommandLineApp.Name} doctor

        Exit codes:
        {string.Join(Environment.NewLine, ExitCode.All.Select(e => $"  {e.Code,3}  {e.Meaning}"))}

        Environment:
          SDN_LIBRARY  path of the native library to load instead of the one beside the program
          SDN_CPU      instruction set of the device "cpu": portable, avx2, avx512 or avx512bf16
          {Failures.DebugVariable}    1 adds stack traces to error messages
        """;
}
