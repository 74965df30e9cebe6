using System.Diagnostics;
using System.Text;

namespace StableDiffusion.Tests.Support;

/// <summary>What a finished process said, both streams together, and how it ended.</summary>
public sealed record CommandResult(int ExitCode, string Output);

/// <summary>Runs other programs to their end.</summary>
public static class Command
{
    /// <summary>The <c>dotnet</c> that runs this process.</summary>
    public static string Dotnet { get; } = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") is { Length: > 0 } host ? host : "dotnet";

    /// <summary>Runs a program. Past the limit it is killed with its children, and the output says so.</summary>
    /// <param name="program">Its path, or a name on the PATH.</param>
    /// <param name="arguments">One entry per argument, unquoted.</param>
    /// <param name="limit">How long it may take.</param>
    /// <param name="folder">Its working folder; null: that of this process.</param>
    /// <param name="environment">Variables it gets besides those of this process; a null value removes one.</param>
    public static CommandResult Run(
        string program, IEnumerable<string> arguments, TimeSpan limit, string? folder = null, params (string Name, string? Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? "",
        };
        foreach ((string name, string? value) in environment)
        {
            start.Environment[name] = value;
        }
        var output = new StringBuilder();
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        process.OutputDataReceived += (_, line) => Append(output, line.Data);
        process.ErrorDataReceived += (_, line) => Append(output, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        if (!process.WaitForExit(limit))
        {
            process.Kill(entireProcessTree: true);
            Append(output, $"killed after {limit.TotalMinutes} minutes");
        }
        process.WaitForExit();
        lock (output)
        {
            return new(process.ExitCode, output.ToString());
        }
    }

    static void Append(StringBuilder output, string? line)
    {
        if (line is not null)
        {
            lock (output)
            {
                output.Append(line).Append('\n');
            }
        }
    }
}
