using System.Text.Json.Nodes;
using StableDiffusion.Cli.Bench.Peers;
using StableDiffusion.Native;

namespace StableDiffusion.Cli.Bench;

/// <summary>What one phase took.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Seconds">Of one run; on CUDA device time.</param>
/// <param name="Flops">Operations of one run.</param>
/// <param name="Layers">Those of its layers, if asked for.</param>
/// <param name="EagerSeconds">Where it was replayed as a graph: the time op by op.</param>
internal sealed record PhaseResult(string Name, double Seconds, double Flops, IReadOnlyList<LayerCost>? Layers, double? EagerSeconds = null);

/// <summary>What <c>bench</c> found.</summary>
internal sealed record BenchResult(
    BenchSettings Settings, DeviceInfo Device, int Threads, IReadOnlyList<PhaseResult> Phases, double? PeakGflops,
    long CheckpointBytes, long WeightBytes, long ArenaBytes, long PeakBytes)
{
    private const double Giga = 1e9;

    /// <summary>A name that opens this device again.</summary>
    private string DeviceName => Device.Kind == DeviceKind.Cpu ? $"cpu:{Device.InstructionSet}" : Device.Emulated ? "cuda:emulated" : Units.Text($"cuda:{Device.Index}");

    /// <summary>What other programs took, if that was asked for.</summary>
    internal IReadOnlyList<PeerResult>? Peers { get; init; }

    private string PrecisionName => Device.Precision.ToString().ToLowerInvariant();

    private string ProductName => Device.ProductDTypeFor(Settings.DType) switch
    {
        DType.BFloat16 => "pairs of bfloat16",
        DType.Float16 => "float16",
        _ => "float32",
    };

    internal void Write(Terminal terminal, int top)
    {
        bool cuda = Device.Kind == DeviceKind.Cuda;
        string[] columns = ["phase", "seconds>", "GFLOP>", "GFLOP/s>", "of peak>"];
        var phases = new TextTable(cuda ? [.. columns, "op by op>"] : columns);
        foreach (PhaseResult phase in Phases)
        {
            string[] cells = [phase.Name, Seconds(phase.Seconds), Units.Text($"{phase.Flops / Giga:0.0}"), Rate(phase.Flops, phase.Seconds), Share(phase.Flops, phase.Seconds)];
            phases.Add(cuda ? [.. cells, phase.EagerSeconds is { } eager ? Seconds(eager) : ""] : cells);
        }
        phases.WriteTo(terminal);
        if (PeakGflops is { } peak)
        {
            string of = cuda ? "float16" : ProductName;
            string where = cuda ? "" : $" on {Threads} thread(s), {PrecisionName} precision";
            terminal.Out.WriteLine(Units.Text($"peak of {DeviceName}{where}: {peak:0} GFLOP/s ({of})"));
        }
        if (Phases.FirstOrDefault(phase => phase.Name == BenchPhase.Load) is { } load)
        {
            string PerSecond(long bytes) => $"{Units.Bytes((long)(bytes / load.Seconds))}/s";
            terminal.Out.WriteLine($"loading: {PerSecond(CheckpointBytes)} of files into {PerSecond(WeightBytes)} of packed weights");
        }
        terminal.Out.WriteLine($"weights {Units.Bytes(WeightBytes)} (in a file {Units.Bytes(CheckpointBytes)}), work {Units.Bytes(ArenaBytes)}, peak of the process {Units.Bytes(PeakBytes)}");
        if (Peers is not null)
        {
            terminal.Out.WriteLine();
            WritePeers(terminal, Peers);
        }
        foreach (PhaseResult phase in Phases.Where(p => p.Layers is not null))
        {
            terminal.Out.WriteLine();
            WriteLayers(terminal, phase, top);
        }
    }

    internal JsonObject ToJson()
    {
        JsonObject json = FiguresToJson();
        if (Peers is not null)
        {
            json["peers"] = new JsonArray([.. Peers.Select(peer => new JsonObject
            {
                ["program"] = peer.Program,
                ["dtype"] = peer.DType,
                ["seconds"] = new JsonObject(peer.Seconds.Select(phase => KeyValuePair.Create(phase.Key, (JsonNode?)Math.Round(phase.Value, 6)))),
                ["note"] = peer.Note,
            })]);
        }
        return json;
    }

    private JsonObject FiguresToJson() => new()
    {
        ["arch"] = Settings.Arch.Name,
        ["size"] = Settings.Width == Settings.Height ? Settings.Width : $"{Settings.Width}x{Settings.Height}",
        ["batch"] = Settings.Batch,
        ["dtype"] = DTypeNames.Name(Settings.DType),
        ["vae_dtype"] = DTypeNames.Name(Settings.VaeDType),
        ["precision"] = PrecisionName,
        ["threads"] = Threads,
        ["device"] = DeviceName,
        ["peak_gflops"] = PeakGflops is { } peak ? Math.Round(peak, 1) : null,
        ["phases"] = new JsonArray([.. Phases.Select(PhaseToJson)]),
        ["checkpoint_bytes"] = CheckpointBytes,
        ["weights_bytes"] = WeightBytes,
        ["work_bytes"] = ArenaBytes,
        ["peak_bytes"] = PeakBytes,
    };

    /// <summary>Seconds by program and phase, each with how many times ours that is.</summary>
    private void WritePeers(Terminal terminal, IReadOnlyList<PeerResult> peers)
    {
        var table = new TextTable(["program", "dtype", .. Phases.Select(phase => $"{phase.Name}>"), "note"]);
        table.Add([$"StableDiffusion.Native, {PrecisionName}", DTypeNames.Name(Settings.DType), .. Phases.Select(phase => Seconds(phase.Seconds)), ""]);
        foreach (PeerResult peer in peers)
        {
            table.Add([peer.Program, peer.DType ?? "", .. Phases.Select(phase => peer.Seconds.TryGetValue(phase.Name, out double seconds)
                ? Units.Text($"{Seconds(seconds)} ({seconds / phase.Seconds:0.0}x)") : ""), peer.Note ?? ""]);
        }
        table.WriteTo(terminal);
    }

    private void WriteLayers(Terminal terminal, PhaseResult phase, int top)
    {
        IReadOnlyList<LayerCost> layers = phase.Layers!;
        int shown = top == 0 ? layers.Count : Math.Min(top, layers.Count);
        var table = new TextTable("layer", "calls>", "seconds>", "of phase>", "GFLOP/s>", "of peak>");
        foreach (LayerCost layer in layers.Take(shown))
        {
            table.Add(layer.Path, Units.Text($"{layer.Calls}"), Units.Text($"{layer.Seconds:0.0000}"), Units.Text($"{100 * layer.Seconds / phase.Seconds:0.0} %"),
                Rate(layer.Flops, layer.Seconds), Share(layer.Flops, layer.Seconds));
        }
        table.WriteTo(terminal);
        if (shown < layers.Count)
        {
            terminal.Out.WriteLine($"and {layers.Count - shown} more layers in {Units.Seconds(layers.Skip(shown).Sum(l => l.Seconds))} (--top 0 shows all)");
        }
    }

    private JsonObject PhaseToJson(PhaseResult phase)
    {
        var json = new JsonObject { ["name"] = phase.Name };
        AddFigures(json, phase.Seconds, phase.Flops);
        if (phase.EagerSeconds is { } eager)
        {
            json["eager_seconds"] = Math.Round(eager, 6);
        }
        if (phase.Layers is not null)
        {
            json["layers"] = new JsonArray([.. phase.Layers.Select(layer =>
            {
                var entry = new JsonObject { ["path"] = layer.Path, ["calls"] = layer.Calls };
                AddFigures(entry, layer.Seconds, layer.Flops);
                return entry;
            })]);
        }
        return json;
    }

    private void AddFigures(JsonObject json, double seconds, double flops)
    {
        double gflops = seconds > 0 ? flops / seconds / Giga : 0;
        json["seconds"] = Math.Round(seconds, 6);
        json["gflops"] = Math.Round(gflops, 3);
        json["peak_share"] = PeakGflops is { } peak ? Math.Round(gflops / peak, 4) : null;
    }

    private static string Rate(double flops, double seconds) => flops > 0 && seconds > 0 ? Units.Text($"{flops / seconds / Giga:0.0}") : "";

    private string Share(double flops, double seconds) =>
        flops > 0 && seconds > 0 && PeakGflops is { } peak ? Units.Text($"{100 * flops / seconds / Giga / peak:0.0} %") : "";

    private static string Seconds(double seconds) => seconds < 0.1 ? Units.Text($"{seconds:0.00000}") : Units.Text($"{seconds:0.000}");
}
