using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace StableDiffusion.Cli.Bench.Peers;

/// <summary>The same architecture with random weights in PyTorch: in plain modules, and in diffusers where that can be imported.</summary>
internal static class TorchPeers
{
    private const string Script = "compare.py", Modules = "torch_models.py";

    /// <summary>A row for each package and dtype.</summary>
    internal static IEnumerable<PeerResult> Measure(BenchSettings settings, PeerChoice choice, int threads, Action<string> say, CancellationToken cancellation)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("sdn-compare-");
        try
        {
            foreach (string name in new[] { Script, Modules })
            {
                using Stream source = Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!;
                using FileStream target = File.Create(Path.Combine(folder.FullName, name));
                source.CopyTo(target);
            }
            foreach (PeerResult result in Measure(Path.Combine(folder.FullName, Script), settings, choice, threads, say, cancellation))
            {
                yield return result;
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static IEnumerable<PeerResult> Measure(string script, BenchSettings settings, PeerChoice choice, int threads, Action<string> say, CancellationToken cancellation)
    {
        PeerProcess? Ask(JsonObject request) => PeerProcess.Run(choice.Python, [script], request.ToJsonString(), new Dictionary<string, string>
        {
            ["OMP_NUM_THREADS"] = Units.Text($"{threads}"),
            ["OPENBLAS_NUM_THREADS"] = Units.Text($"{threads}"),
            ["MKL_NUM_THREADS"] = Units.Text($"{threads}"),
            ["PYTHONDONTWRITEBYTECODE"] = "1",
        }, cancellation);

        PeerProcess? probe = Ask(new JsonObject { ["probe"] = true });
        if (probe is not { ExitCode: 0 })
        {
            yield return PeerResult.Missing("PyTorch", probe is null
                ? $"not found: there is no '{choice.Python}'; name a Python that has torch with --python PATH"
                : $"not found: '{choice.Python}' failed: {probe.Reason}");
            yield break;
        }
        JsonElement versions = JsonDocument.Parse(probe.Out).RootElement;
        string[] phases = [.. settings.Phases.Where(phase => phase is BenchPhase.UnetStep or BenchPhase.VaeDecode)];
        foreach ((string package, string title) in new[] { ("torch", "PyTorch"), ("diffusers", "diffusers") })
        {
            if (versions.GetProperty(package).GetString() is not { } version)
            {
                yield return PeerResult.Missing(title, $"not found: '{choice.Python}' cannot import {package}; install it there (pip install {package}), or name another with --python PATH");
                continue;
            }
            foreach (string dtype in choice.DTypes)
            {
                say($"running {title} {version} in {dtype}");
                PeerProcess run = Ask(Request(package, dtype, phases, settings, threads))!;
                yield return new PeerResult($"{title} {version}", dtype, Times(run.Out), run.ExitCode == 0 ? null : $"failed: {run.Reason}");
            }
        }
    }

    private static JsonObject Request(string package, string dtype, string[] phases, BenchSettings settings, int threads) => new()
    {
        ["package"] = package,
        ["dtype"] = dtype,
        ["phases"] = new JsonArray([.. phases.Select(phase => (JsonNode)phase)]),
        ["threads"] = threads,
        ["repeat"] = settings.Repeat,
        ["batch"] = settings.Batch,
        ["height"] = settings.Height / settings.Arch.Vae.ScaleFactor,
        ["width"] = settings.Width / settings.Arch.Vae.ScaleFactor,
        ["context"] = settings.Arch.Unet.CrossAttentionDim[0],
        ["unet"] = settings.Arch.Unet.ToJson(),
        ["vae"] = settings.Arch.Vae.ToJson(),
    };

    private static Dictionary<string, double> Times(string output) => output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Where(line => line.StartsWith('{'))
        .Select(line => JsonDocument.Parse(line).RootElement)
        .ToDictionary(line => line.GetProperty("phase").GetString()!, line => line.GetProperty("seconds").GetDouble());
}
