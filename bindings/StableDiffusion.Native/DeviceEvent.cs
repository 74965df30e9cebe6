namespace StableDiffusion.Native;

/// <summary>A point in an exec's work, for waiting and for device time. On a CPU device every op before it is done when it is recorded.</summary>
public sealed class DeviceEvent : IDisposable
{
    private readonly EventHandle _handle;

    /// <summary>An event that was not recorded yet.</summary>
    public unsafe DeviceEvent(Device device)
    {
        nint handle;
        Interop.sdn_event_create(device.Handle, &handle).ThrowIfFailed();
        _handle = new EventHandle(handle, device.Handle);
    }

    /// <summary>Whether the device has come to it. Also true for one that was never recorded.</summary>
    /// <exception cref="DeviceFaultException">Work before it failed on the device.</exception>
    public unsafe bool IsDone
    {
        get
        {
            int done;
            Interop.sdn_event_query(_handle, &done).ThrowIfFailed();
            return done != 0;
        }
    }

    /// <summary>Marks the point behind the ops called so far; recording again moves it.</summary>
    public void Record(Exec exec) => Interop.sdn_event_record(_handle, exec.Handle).ThrowIfFailed(exec.Cancellation);

    /// <summary>Waits until the device has come to it.</summary>
    /// <exception cref="DeviceFaultException">Work before it failed on the device.</exception>
    public void Synchronize() => Interop.sdn_event_synchronize(_handle).ThrowIfFailed();

    /// <summary>Device time from <paramref name="begin"/> to this event, in milliseconds; the device must have come to both.</summary>
    public unsafe double ElapsedMilliseconds(DeviceEvent begin)
    {
        double milliseconds;
        Interop.sdn_event_elapsed(begin._handle, _handle, &milliseconds).ThrowIfFailed();
        return milliseconds;
    }

    /// <inheritdoc />
    public void Dispose() => _handle.Dispose();
}
