using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Keeps at most two steps in flight: one runs while the next is being queued, so the device never waits, and a cancellation or a report is
/// never more than a step late. A step counts as done when the device has come to its event.
/// </summary>
/// <param name="device">Where the steps run.</param>
/// <param name="done">Called with the number of each step that is done, in order.</param>
internal sealed class StepWindow(Device device, Action<int> done) : IDisposable
{
    /// <summary>Most steps that are queued and not done.</summary>
    public const int Capacity = 2;

    private readonly Queue<(int Step, DeviceEvent End)> _inFlight = [];
    private readonly Stack<DeviceEvent> _spare = [];

    /// <summary>Steps queued and not known to be done.</summary>
    public int InFlight => _inFlight.Count;

    /// <summary>A step was queued.</summary>
    public void Add(Exec exec, int step)
    {
        if (!_spare.TryPop(out DeviceEvent? end))
        {
            end = new DeviceEvent(device);
        }
        _inFlight.Enqueue((step, end));
        end.Record(exec);
        while (_inFlight.TryPeek(out (int Step, DeviceEvent End) oldest) && oldest.End.IsDone)
        {
            Report();
        }
    }

    /// <summary>Waits until at most so many steps are in flight.</summary>
    /// <exception cref="OperationCanceledException">Cancelled while waiting.</exception>
    public void WaitUntil(int most, CancellationToken cancellation)
    {
        while (_inFlight.Count > most)
        {
            // Asked again and again instead of waited for, so that a cancellation is heard.
            for (var spin = default(SpinWait); !_inFlight.Peek().End.IsDone; spin.SpinOnce())
            {
                cancellation.ThrowIfCancellationRequested();
            }
            Report();
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (DeviceEvent end in _spare.Concat(_inFlight.Select(entry => entry.End)))
        {
            end.Dispose();
        }
    }

    private void Report()
    {
        (int step, DeviceEvent end) = _inFlight.Dequeue();
        _spare.Push(end);
        done(step);
    }
}
