namespace StableDiffusion.Native;

/// <summary>
/// A sequence of ops, recorded once by <see cref="Exec.Capture"/> and queued as one: the same ops on the same memory, whatever it holds by then.
/// It keeps the exec that recorded it alive; every other tensor it uses must live as long as it is launched. At any time it may be queued
/// on one exec only.
/// </summary>
public sealed class Graph : IDisposable
{
    private readonly GraphHandle _handle;

    internal Graph(GraphHandle handle) => _handle = handle;

    /// <summary>Queues it on an exec of the same device, in the order of that exec's ops.</summary>
    /// <exception cref="DeviceFaultException">The device is lost.</exception>
    public void Launch(Exec exec) => exec.Check(Interop.sdn_graph_launch(_handle, exec.Handle));

    /// <summary>Waits until it is not running, then frees it.</summary>
    public void Dispose() => _handle.Dispose();
}
