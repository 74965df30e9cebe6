using System.Text.Json.Nodes;
using StableDiffusion.Native;

namespace StableDiffusion.Cli.Bench;

/// <summary>What one phase took.</summary>
internal sealed record PhaseResult(string Name, double Seconds, double Flops, IReadOnlyList<LayerCost>? Layers);

/// <summary>What <c>bench</c> found.</summary>
internal sealed record BenchResult(
    BenchSettings Settings, DeviceInfo Device, int Threads, IReadOnlyList<PhaseResult> Phases, double PeakGflops,
    long CheckpointBytes, long WeightBytes, long ArenaBytes, long PeakBytes)
{
    private const double Giga = 1e9;

    /// <summary>A name that opens this device again.</summary>
    private string DeviceName => Device.Kind == DeviceKind.Cpu ? $"cpu:{Device.InstructionSet}" : Units.Text($"cuda:{Device.Index}");

    internal void Write(Terminal terminal, int top)
    {
        var phases = new TextTable("phase", "seconds>", "GFLOP>", "GFLOP/s>", "of peak>");
        foreach (PhaseResult phase in Phases)
        {
            phases.Add(phase.Name, Units.Text($"{phase.Seconds:0.000}"), Units.Text($"{phase.Flops / Giga:0.0}"), Rate(phase.Flops, phase.Seconds), Share(phase.Flops, phase.Seconds));
        }
        phases.WriteTo(terminal);
        terminal.Out.WriteLine(Units.Text($"peak of {DeviceName} on {Threads} thread(s): {PeakGflops:0} GFLOP/s"));
        terminal.Out.WriteLine($"weights {Units.Bytes(WeightBytes)} (in a file {Units.Bytes(CheckpointBytes)}), work {Units.Bytes(ArenaBytes)}, peak of the process {Units.Bytes(PeakBytes)}");
        foreach (PhaseResult phase in Phases.Where(p => p.Layers is not null))
        {
            terminal.Out.WriteLine();
            WriteLayers(terminal, phase, top);
        }
    }

    internal JsonObject ToJson() => new()
    {
        ["arch"] = Settings.Arch.Name,
        ["size"] = Settings.Width == Settings.Height ? Settings.Width : $"{Settings.Width}x{Settings.Height}",
        ["batch"] = Settings.Batch,
        ["dtype"] = DTypeNames.Name(Settings.DType),
        ["threads"] = Threads,
        ["device"] = DeviceName,
        ["phases"] = new JsonArray([.. Phases.Select(PhaseToJson)]),
        ["checkpoint_bytes"] = CheckpointBytes,
        ["weights_bytes"] = WeightBytes,
        ["peak_bytes"] = PeakBytes,
    };

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
        json["peak_share"] = Math.Round(gflops / PeakGflops, 4);
    }

    private static string Rate(double flops, double seconds) => flops > 0 && seconds > 0 ? Units.Text($"{flops / seconds / Giga:0.0}") : "";

    private string Share(double flops, double seconds) => flops > 0 && seconds > 0 ? Units.Text($"{100 * flops / seconds / Giga / PeakGflops:0.0} %") : "";
}
