using System.Text.Json;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Native;

/// <summary>How a native case ended. <see cref="Text"/> is GoogleTest's: the failures, or why it was skipped.</summary>
public sealed record GoogleTestResult(GoogleTestOutcome Outcome, string Text);

/// <summary>The ways a native case can end.</summary>
public enum GoogleTestOutcome
{
    /// <summary>Every expectation held.</summary>
    Passed,
    /// <summary>At least one did not.</summary>
    Failed,
    /// <summary>It skipped itself, or is disabled.</summary>
    Skipped,
}

/// <summary>The GoogleTest binary <c>artifacts/native/bin/sdn_tests</c>: its list of cases, and one run of all of them with a JSON report.</summary>
public static class GoogleTestRun
{
    const string RunMark = "[ RUN      ] ";
    const string PassedMark = "[       OK ] ";
    static readonly TimeSpan Limit = TimeSpan.FromMinutes(15);

    /// <summary>Path of the binary, whether it exists or not.</summary>
    public static string Executable { get; } = Path.Combine(
        Fixtures.RepositoryRoot(), "artifacts", "native", "bin", OperatingSystem.IsWindows() ? "sdn_tests.exe" : "sdn_tests");

    /// <summary>Names of all cases, as in <c>Suite.Case</c> or <c>Sizes/Suite.Case/3</c>.</summary>
    public static IReadOnlyList<string> List() => ParseList(Start("--gtest_list_tests").Output);

    /// <summary>Runs every case.</summary>
    /// <returns>Results by name. When the binary dies on the way, only those that passed before have one, and <c>Ending</c> says how it died.</returns>
    public static (IReadOnlyDictionary<string, GoogleTestResult> Results, string Ending) RunAll()
    {
        string report = Path.Combine(Path.GetTempPath(), $"sdn_tests-{Guid.NewGuid():N}.json");
        try
        {
            (int exitCode, string output) = Start($"--gtest_output=json:{report}", "--gtest_color=no");
            return (File.Exists(report) ? ParseReport(File.ReadAllText(report)) : ParseOutput(output), Ending(output, exitCode));
        }
        finally
        {
            File.Delete(report);
        }
    }

    /// <summary>The cases in the text of <c>--gtest_list_tests</c>: suites end with a full stop, cases are indented, comments follow a #.</summary>
    public static IReadOnlyList<string> ParseList(string text)
    {
        var names = new List<string>();
        string suite = "";
        foreach (string line in text.Split('\n').Select(line => line.Split('#')[0].TrimEnd()))
        {
            if (line.StartsWith("  ", StringComparison.Ordinal))
            {
                names.Add(suite + line.Trim());
            }
            else if (line.EndsWith('.'))
            {
                suite = line;
            }
        }
        return names;
    }

    /// <summary>The results in a report of <c>--gtest_output=json</c>.</summary>
    public static IReadOnlyDictionary<string, GoogleTestResult> ParseReport(string json)
    {
        using var report = JsonDocument.Parse(json);
        return report.RootElement.GetProperty("testsuites").EnumerateArray()
            .SelectMany(suite => suite.GetProperty("testsuite").EnumerateArray(), (suite, test) =>
                (Name: $"{suite.GetProperty("name").GetString()}.{test.GetProperty("name").GetString()}", Result: Result(test)))
            .ToDictionary(test => test.Name, test => test.Result);
    }

    /// <summary>The cases that the printed text says have passed: all there is to know when the binary died before it wrote its report.</summary>
    public static IReadOnlyDictionary<string, GoogleTestResult> ParseOutput(string text) => text.Split('\n')
        .Where(line => line.StartsWith(PassedMark, StringComparison.Ordinal))
        .Select(line => line[PassedMark.Length..].Split([' ', ','])[0])
        .ToDictionary(name => name, _ => new GoogleTestResult(GoogleTestOutcome.Passed, ""));

    static GoogleTestResult Result(JsonElement test)
    {
        if (test.TryGetProperty("failures", out JsonElement failures))
        {
            return new(GoogleTestOutcome.Failed, string.Join("\n", failures.EnumerateArray().Select(failure => failure.GetProperty("failure").GetString())));
        }
        if (test.GetProperty("status").GetString() == "NOTRUN")
        {
            return new(GoogleTestOutcome.Skipped, "disabled in the native tests");
        }
        if (test.GetProperty("result").GetString() == "SKIPPED")
        {
            IEnumerable<string?> reasons = test.TryGetProperty("skipped", out JsonElement skipped)
                ? skipped.EnumerateArray().Select(reason => reason.GetProperty("message").GetString()?.Trim())
                : ["skipped by itself"];
            return new(GoogleTestOutcome.Skipped, string.Join("\n", reasons));
        }
        return new(GoogleTestOutcome.Passed, "");
    }

    static string Ending(string output, int exitCode)
    {
        string last = output.Split('\n').LastOrDefault(line => line.StartsWith(RunMark, StringComparison.Ordinal)) ?? "";
        string tail = output.Length > 2000 ? output[^2000..] : output;
        return $"{Executable} ended with exit code {exitCode}, the last case begun was '{last.Replace(RunMark, "").Trim()}'. The end of its output:\n{tail}";
    }

    static CommandResult Start(params string[] arguments) => Command.Run(Executable, arguments, Limit);
}
