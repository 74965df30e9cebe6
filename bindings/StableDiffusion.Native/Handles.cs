using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

/// <summary>A native object. One released by its finalizer was never disposed: that counts as a leak.</summary>
internal abstract class NativeHandle : SafeHandle
{
    private static long _leaks;
    private static long _live;
    private readonly SafeHandle? _parent;
    private bool _disposing;

    protected NativeHandle(nint handle, SafeHandle? parent) : base(0, ownsHandle: true)
    {
        if (parent is not null)
        {
            bool added = false;
            parent.DangerousAddRef(ref added);
            _parent = parent;
        }
        SetHandle(handle);
        Interlocked.Increment(ref _live);
    }

    /// <summary>Handles that died in the finalizer since the process began.</summary>
    internal static long LeakCount => Interlocked.Read(ref _leaks);

    /// <summary>Handles alive now.</summary>
    internal static long LiveCount => Interlocked.Read(ref _live);

    public override bool IsInvalid => handle == 0;

    protected override void Dispose(bool disposing)
    {
        _disposing |= disposing;
        base.Dispose(disposing);
    }

    protected sealed override bool ReleaseHandle()
    {
        if (!_disposing)
        {
            Interlocked.Increment(ref _leaks);
        }
        Interlocked.Decrement(ref _live);
        bool released = Release(handle) == Status.Ok;
        _parent?.DangerousRelease();
        return released;
    }

    /// <summary>Destroys the native object.</summary>
    protected abstract Status Release(nint native);
}

internal sealed class DeviceHandle(nint handle) : NativeHandle(handle, null)
{
    protected override Status Release(nint native) => Interop.sdn_device_close(native);
}

internal sealed class ExecHandle(nint handle, DeviceHandle device) : NativeHandle(handle, device)
{
    protected override Status Release(nint native) => Interop.sdn_exec_destroy(native);
}

internal sealed class EventHandle(nint handle, DeviceHandle device) : NativeHandle(handle, device)
{
    protected override Status Release(nint native) => Interop.sdn_event_destroy(native);
}

/// <summary>Its parent is the exec that captured it: the graph works in that exec's arena.</summary>
internal sealed class GraphHandle(nint handle, ExecHandle exec) : NativeHandle(handle, exec)
{
    protected override Status Release(nint native) => Interop.sdn_graph_destroy(native);
}

internal sealed class WeightHandle(nint handle, DeviceHandle device) : NativeHandle(handle, device)
{
    protected override Status Release(nint native) => Interop.sdn_weight_destroy(native);
}

internal sealed class BufferHandle(nint handle, DeviceHandle device) : NativeHandle(handle, device)
{
    private readonly nint _device = device.DangerousGetHandle();

    protected override Status Release(nint native) => Interop.sdn_buffer_free(_device, native);
}
