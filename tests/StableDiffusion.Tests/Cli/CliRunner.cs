using System.Diagnostics;
using System.Text.Json;
using StableDiffusion.Cli;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Cli;

/// <summary>What a run of the program left behind.</summary>
internal sealed record CliRun(int ExitCode, string Out, string Error)
{
    /// <summary>Standard output as JSON objects, one per line; fails on anything else.</summary>
    internal IReadOnlyList<JsonElement> JsonLines => [.. Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];

    /// <summary>Asserts one "error: ..." line on stderr with these words, the exit code, and no output.</summary>
    internal void AssertError(int exitCode, params string[] words)
    {
        Assert.That(ExitCode, Is.EqualTo(exitCode), Error);
        Assert.That(Error, Does.StartWith("error: "));
        Assert.That(Error.TrimEnd().Split('\n'), Has.Length.EqualTo(1), Error);
        foreach (string word in words)
        {
            Assert.That(Error, Does.Contain(word));
        }
    }

    internal void AssertOk() => Assert.That(ExitCode, Is.Zero, $"{Error}\n{Out}");
}

/// <summary>Runs the program in this process, or as a process of its own.</summary>
internal static class CliRunner
{
    /// <summary>The demo model in the repository.</summary>
    internal static string DemoModel => Path.Combine(Fixtures.RepositoryRoot(), "models", "shapes");

    internal static CliRun Run(params string[] args) => Run(CancellationToken.None, args);

    internal static CliRun Run(CancellationToken cancellation, params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = CommandLineApp.Run(args, output, error, cancellation);
        return new CliRun(code, output.ToString(), error.ToString());
    }

    /// <summary>As a child process, for what the environment decides.</summary>
    internal static CliRun RunProcess(IReadOnlyDictionary<string, string> environment, params string[] args) => RunProcessAndInterrupt(environment, null, args);

    /// <summary>As a child process that gets Ctrl+C (SIGINT) once a line of its output has a word in it.</summary>
    internal static CliRun RunProcessAndInterrupt(IReadOnlyDictionary<string, string> environment, string? interruptAfter, params string[] args)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "StableDiffusion.Cli.dll");
        var start = new ProcessStartInfo("dotnet", [program, .. args]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        using var output = new StringWriter();
        while (process.StandardOutput.ReadLine() is { } line)
        {
            output.WriteLine(line);
            if (interruptAfter is not null && line.Contains(interruptAfter, StringComparison.Ordinal))
            {
                interruptAfter = null;
                Process.Start("kill", ["-INT", $"{process.Id}"]).WaitForExit();
            }
        }
        process.WaitForExit();
        return new CliRun(process.ExitCode, output.ToString(), error.Result);
    }
}
