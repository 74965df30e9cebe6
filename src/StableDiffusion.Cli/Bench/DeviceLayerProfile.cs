using StableDiffusion.Native;

namespace StableDiffusion.Cli.Bench;

/// <summary>
/// <see cref="LayerProfile"/> for a device that works behind the calls: an event at every border between two layers, read when all is done.
/// The events cost a little time of their own.
/// </summary>
internal sealed class DeviceLayerProfile(string phase, Device device) : ILayerTrace, IDisposable
{
    private readonly List<(DeviceEvent At, string? Path, bool Begins, long Flops)> _borders = [];
    private readonly Stack<string> _running = new();

    /// <summary>The layers, slowest first. The device must be done.</summary>
    internal IReadOnlyList<LayerCost> Costs()
    {
        var costs = new Dictionary<string, LayerCost>();
        for (int i = 0; i + 1 < _borders.Count; i++)
        {
            if (_borders[i].Path is { } path)
            {
                LayerCost cost = costs.GetValueOrDefault(path) ?? new LayerCost(path, 0, 0, 0);
                costs[path] = cost with
                {
                    Calls = cost.Calls + (_borders[i].Begins ? 1 : 0),
                    Seconds = cost.Seconds + (_borders[i + 1].At.ElapsedMilliseconds(_borders[i].At) / 1000),
                    Flops = cost.Flops + _borders[i + 1].Flops - _borders[i].Flops,
                };
            }
        }
        return [.. costs.Values.OrderByDescending(cost => cost.Seconds)];
    }

    /// <inheritdoc />
    public void Enter(string path, Exec exec)
    {
        _running.Push(path.Length == 0 ? phase : $"{phase}.{path}");
        Mark(exec, begins: true);
    }

    /// <inheritdoc />
    public void Leave(string path, Exec exec)
    {
        _running.Pop();
        Mark(exec, begins: false);
    }

    /// <inheritdoc />
    public void Dispose() => _borders.ForEach(border => border.At.Dispose());

    private void Mark(Exec exec, bool begins)
    {
        var at = new DeviceEvent(device);
        _borders.Add((at, _running.TryPeek(out string? path) ? path : null, begins, exec.Stats.Flops));
        at.Record(exec);
    }
}
