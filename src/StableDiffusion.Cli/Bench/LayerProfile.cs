using System.Diagnostics;
using StableDiffusion.Native;

namespace StableDiffusion.Cli.Bench;

/// <summary>What one layer took by itself, without the layers inside it.</summary>
internal sealed record LayerCost(string Path, int Calls, double Seconds, double Flops);

/// <summary>Adds up time and arithmetic per layer path. Each moment belongs to the innermost layer running, so the costs add up to the whole.</summary>
internal sealed class LayerProfile(string phase) : ILayerTrace
{
    private readonly Dictionary<string, (int Calls, long Ticks, long Flops)> _costs = [];
    private readonly Stack<string> _running = new();
    private long _since, _flops;

    /// <summary>The layers, slowest first.</summary>
    internal IReadOnlyList<LayerCost> Costs =>
        [.. _costs.Select(c => new LayerCost(c.Key, c.Value.Calls, c.Value.Ticks / (double)Stopwatch.Frequency, c.Value.Flops)).OrderByDescending(c => c.Seconds)];

    /// <inheritdoc />
    public void Enter(string path, Exec exec)
    {
        Charge(exec, 0);
        _running.Push(path.Length == 0 ? phase : $"{phase}.{path}");
        Charge(exec, 1);
    }

    /// <inheritdoc />
    public void Leave(string path, Exec exec)
    {
        Charge(exec, 0);
        _running.Pop();
    }

    /// <summary>Charges what happened since the last event to the layer that was running.</summary>
    private void Charge(Exec exec, int calls)
    {
        long now = Stopwatch.GetTimestamp(), flops = exec.Stats.Flops;
        if (_running.TryPeek(out string? path))
        {
            (int Calls, long Ticks, long Flops) cost = _costs.GetValueOrDefault(path);
            _costs[path] = calls > 0 ? cost with { Calls = cost.Calls + calls } : (cost.Calls, cost.Ticks + now - _since, cost.Flops + flops - _flops);
        }
        (_since, _flops) = (now, flops);
    }
}
