using System.ComponentModel;
using System.Diagnostics;

namespace StableDiffusion.Cli.Bench.Peers;

/// <summary>A peer's program, run to its end.</summary>
/// <param name="ExitCode">0: it says that all went well.</param>
/// <param name="Out">What it wrote to stdout.</param>
/// <param name="Error">What it wrote to stderr.</param>
internal sealed record PeerProcess(int ExitCode, string Out, string Error)
{
    /// <summary>Why it failed, in a line: the last it wrote.</summary>
    internal string Reason => Error.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).LastOrDefault() ?? Units.Text($"exit code {ExitCode}");

    /// <summary>Runs it; null if there is no such program.</summary>
    /// <param name="program">Its path, or a name on the PATH.</param>
    /// <param name="arguments">As they are, nothing is split.</param>
    /// <param name="input">For its stdin.</param>
    /// <param name="environment">Variables on top of this process's.</param>
    /// <param name="cancellation">Ends it, with what it started.</param>
    internal static PeerProcess? Run(string program, IEnumerable<string> arguments, string input, IReadOnlyDictionary<string, string> environment, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }
        using var process = new Process { StartInfo = start };
        try
        {
            process.Start();
        }
        catch (Win32Exception)
        {
            return null;
        }
        using CancellationTokenRegistration ending = cancellation.Register(() => process.Kill(entireProcessTree: true));
        Task<string> output = process.StandardOutput.ReadToEndAsync(CancellationToken.None), error = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            process.StandardInput.Write(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading; its exit code and stderr say why.
        }
        process.WaitForExit();
        cancellation.ThrowIfCancellationRequested();
        return new PeerProcess(process.ExitCode, output.Result, error.Result);
    }
}
