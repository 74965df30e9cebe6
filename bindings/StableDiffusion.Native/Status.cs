namespace StableDiffusion.Native;

/// <summary>sdn_status: what a native function returns.</summary>
internal enum Status
{
    Ok = 0,
    InvalidArgument = 1,
    Shape = 2,
    OutOfMemory = 3,
    Unsupported = 4,
    NoDevice = 5,
    Cancelled = 6,
    Device = 7,
    Internal = 8,
}

/// <summary>A failure inside the native library; its text is the library's own.</summary>
public class NativeException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The requested device does not exist here; the text says why and what does.</summary>
public sealed class DeviceNotFoundException(string message) : NativeException(message);

/// <summary>
/// The device reported a fault, which may have happened in earlier work: a CUDA device works behind the calls. A fault that ends the device
/// for this process shows in <see cref="DeviceInfo.Lost"/>; the process and its other devices go on.
/// </summary>
public sealed class DeviceFaultException(string message, Exception? inner = null) : NativeException(message, inner);

/// <summary>A tensor or arena does not fit in the device's memory; the text names needed and available bytes.</summary>
public class OutOfDeviceMemoryException : NativeException
{
    /// <summary>An out-of-memory failure reported by the native library.</summary>
    public OutOfDeviceMemoryException(string message) : base(message) { }

    /// <summary>What does not fit, in bytes.</summary>
    public OutOfDeviceMemoryException(string what, long neededBytes, long freeBytes, string advice, Exception? inner = null)
        : base($"{what} needs {neededBytes / 1048576.0:N0} MB but only {freeBytes / 1048576.0:N0} MB are free. {advice}", inner) =>
        (NeededBytes, FreeBytes) = (neededBytes, freeBytes);

    /// <summary>Bytes needed, or 0 when only the text knows.</summary>
    public long NeededBytes { get; }

    /// <summary>Bytes free, or 0 when only the text knows.</summary>
    public long FreeBytes { get; }
}

internal static class StatusExtensions
{
    /// <summary>The only way from a native status to an exception.</summary>
    internal static void ThrowIfFailed(this Status status, CancellationToken cancellation = default)
    {
        if (status != Status.Ok)
        {
            throw ToException(status, Interop.LastError, cancellation);
        }
    }

    private static Exception ToException(Status status, string text, CancellationToken cancellation) => status switch
    {
        Status.InvalidArgument or Status.Shape => new ArgumentException(text),
        Status.OutOfMemory => new OutOfDeviceMemoryException(text),
        Status.Unsupported => new NotSupportedException(text),
        Status.NoDevice => new DeviceNotFoundException(text),
        Status.Cancelled => new OperationCanceledException(text, cancellation),
        Status.Device => new DeviceFaultException(text),
        _ => new NativeException(text),
    };
}
