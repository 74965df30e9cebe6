using System.Globalization;
using System.Text.RegularExpressions;

namespace StableDiffusion.Cli.Bench.Peers;

/// <summary>stable-diffusion.cpp, by the times that its own log tells. It has no random weights, so it needs a checkpoint.</summary>
internal static partial class CppPeer
{
    private const string Title = "stable-diffusion.cpp";
    private const int Steps = 2;

    private static readonly string[] Names = ["sd-cli", "sd"];

    /// <summary>A row for each dtype.</summary>
    internal static IEnumerable<PeerResult> Measure(BenchSettings settings, PeerChoice choice, int threads, Action<string> say, CancellationToken cancellation)
    {
        string[] candidates = choice.Cpp is null ? Names : [choice.Cpp];
        // Any 'sd' may be on a PATH (there is a tool of that name that replaces text): it is ours if its help says so.
        string? help = null;
        string? program = Array.Find(candidates, name =>
        {
            help = Run(name, ["--help"], cancellation) is { } run ? run.Out + run.Error : "";
            return help.Contains("--sampling-method", StringComparison.Ordinal);
        });
        if (program is null)
        {
            yield return PeerResult.Missing(Title, choice.Cpp is null
                ? "not found: no 'sd-cli' or 'sd' of it on the PATH; name it with --sd-cpp PATH"
                : $"not found: '{choice.Cpp}' is not its program; give the path of sd-cli or sd");
            yield break;
        }
        if (choice.Checkpoint is not { } checkpoint)
        {
            yield return PeerResult.Missing(Title, "skipped: it needs a checkpoint of this architecture; give one with --model PATH");
            yield break;
        }
        string picture = Path.Combine(Path.GetTempPath(), $"sdn-compare-{Environment.ProcessId}.png");
        foreach (string dtype in choice.DTypes)
        {
            say($"running {Title} in {dtype}");
            var best = new Dictionary<string, double>();
            string? failure = null;
            for (int i = 0; i < settings.Repeat && failure is null; i++)
            {
                PeerProcess run = Run(program, [.. Arguments(settings, checkpoint, dtype, threads, picture), .. EagerLoad(help!)], cancellation)!;
                failure = run.ExitCode == 0 ? null : $"failed: {run.Reason}";
                foreach ((string phase, double seconds) in Times(run.Out + run.Error))
                {
                    best[phase] = Math.Min(seconds, best.GetValueOrDefault(phase, double.MaxValue));
                }
            }
            yield return new PeerResult(Title, dtype, settings.Phases.Where(best.ContainsKey).ToDictionary(phase => phase, phase => best[phase]), failure);
        }
        foreach (string file in Directory.EnumerateFiles(Path.GetTempPath(), Path.GetFileNameWithoutExtension(picture) + "*"))
        {
            File.Delete(file);
        }
    }

    /// <summary>Seconds by phase in a log: "sampling completed, taking 67.35s", one for each picture; "decode_first_stage completed, taking 850 ms".</summary>
    internal static Dictionary<string, double> Times(string log)
    {
        var times = new Dictionary<string, double>();
        foreach (Match match in Completed().Matches(log))
        {
            double seconds = double.Parse(match.Groups["time"].Value, CultureInfo.InvariantCulture) / (match.Groups["unit"].Value == "ms" ? 1000 : 1);
            (string phase, double share) = match.Groups["what"].Value switch
            {
                "get_learned_condition" => (BenchPhase.TextEncoder, 1.0),
                "sampling" => (BenchPhase.UnetStep, 1.0 / Steps),
                _ => (BenchPhase.VaeDecode, 1.0),
            };
            times[phase] = times.GetValueOrDefault(phase) + (seconds * share);
        }
        return times;
    }

    private static string[] Arguments(BenchSettings settings, string checkpoint, string dtype, int threads, string picture) =>
    [
        "-m", checkpoint, "-p", "a cat", "-n", "a dog", "--cfg-scale", "7.5", "--sampling-method", "euler", "--steps", Units.Text($"{Steps}"), "--seed", "1",
        "-W", Units.Text($"{settings.Width}"), "-H", Units.Text($"{settings.Height}"), "-b", Units.Text($"{settings.Batch}"), "-t", Units.Text($"{threads}"),
        "--type", dtype switch { "fp16" => "f16", "bf16" => "bf16", _ => "f32" }, "-o", picture,
    ];

    // Without it, newer versions load weights in the phase that needs them first, and count it there.
    private static string[] EagerLoad(string help) => help.Contains("--eager-load", StringComparison.Ordinal) ? ["--eager-load"] : [];

    private static PeerProcess? Run(string program, string[] arguments, CancellationToken cancellation) =>
        PeerProcess.Run(program, arguments, "", new Dictionary<string, string>(), cancellation);

    [GeneratedRegex(@"(?<what>get_learned_condition|sampling|decode_first_stage) completed, taking (?<time>[\d.]+) ?(?<unit>ms|s)")]
    private static partial Regex Completed();
}
