using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

/// <summary>Counters of an exec since its creation or <see cref="Exec.Reset"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct ExecStats
{
    /// <summary>Arena bytes in use now.</summary>
    public long LiveBytes { get; init; }

    /// <summary>The most arena bytes in use at one time, fragmentation included.</summary>
    public long PeakBytes { get; init; }

    /// <summary>Operations of the matrix ops called: 2 per multiply-add.</summary>
    public long Flops { get; init; }

    /// <summary>Ops called.</summary>
    public long Ops { get; init; }
}

/// <summary>
/// Where ops run: a device, an arena for intermediates and scratch, and counters. In measure mode nothing is computed and no memory is
/// taken: the same calls yield the exact peak, flops and op count, for planning and progress. One thread at a time, except for
/// cancellation. After an exception the arena may hold leftovers: <see cref="Reset"/> or dispose it.
/// </summary>
public sealed class Exec : IDisposable
{
    private CancellationTokenRegistration _registration;

    private unsafe Exec(Device device, bool measure, long arenaBytes)
    {
        nint handle;
        Interop.sdn_exec_create(device.Handle, measure ? 1 : 0, arenaBytes, &handle).ThrowIfFailed();
        (Handle, Device, IsMeasuring, ArenaBytes) = (new ExecHandle(handle, device.Handle), device, measure, arenaBytes);
    }

    /// <summary>An exec that only measures.</summary>
    public static Exec Measure(Device device) => new(device, true, 0);

    /// <summary>An exec that computes, in an arena of that many bytes (what a measuring one found as its peak).</summary>
    /// <exception cref="OutOfDeviceMemoryException">The arena does not fit.</exception>
    public static Exec Create(Device device, long arenaBytes) => new(device, false, arenaBytes);

    /// <summary>The device.</summary>
    public Device Device { get; }

    /// <summary>Whether this exec only measures.</summary>
    public bool IsMeasuring { get; }

    /// <summary>Size of the arena.</summary>
    public long ArenaBytes { get; }

    /// <summary>Called after each op, on the calling thread; for progress within a step. Must not call ops.</summary>
    public Action<Exec>? OpCompleted { get; set; }

    /// <summary>Called when a layer begins and ends; for per-layer timing. Null: no tracing.</summary>
    public ILayerTrace? Trace { get; set; }

    /// <summary>Cancelled, it makes the running op and all later ones throw <see cref="OperationCanceledException"/>.</summary>
    public CancellationToken Cancellation
    {
        get;
        set
        {
            _registration.Dispose();
            field = value;
            _registration = value.UnsafeRegister(static exec => ((Exec)exec!).Cancel(), this);
        }
    }

    /// <summary>The counters.</summary>
    public unsafe ExecStats Stats
    {
        get
        {
            ExecStats stats;
            Interop.sdn_exec_get_stats(Handle, &stats).ThrowIfFailed();
            return stats;
        }
    }

    /// <summary>A tensor in the arena; its content is undefined. Dispose it after its last use.</summary>
    /// <exception cref="OutOfDeviceMemoryException">It does not fit in the arena.</exception>
    public unsafe Tensor Alloc(DType dtype, params ReadOnlySpan<long> shape)
    {
        nint data;
        Interop.sdn_exec_alloc(Handle, new Tensor(0, dtype, shape, null).Bytes, &data).ThrowIfFailed();
        return new Tensor(data, dtype, shape, this);
    }

    /// <summary>Copies host values into a new arena tensor.</summary>
    public Tensor Upload<T>(ReadOnlySpan<T> values, DType dtype, params ReadOnlySpan<long> shape) where T : unmanaged
    {
        Tensor tensor = Alloc(dtype, shape);
        Write(tensor, values);
        return tensor;
    }

    /// <summary>Copies host values into a dense tensor of the same size.</summary>
    public unsafe void Write<T>(Tensor destination, ReadOnlySpan<T> values) where T : unmanaged
    {
        CheckSize(destination, (long)values.Length * sizeof(T));
        if (!IsMeasuring)
        {
            fixed (T* host = values)
            {
                Interop.sdn_upload(Handle, destination.Data, host, destination.Bytes).ThrowIfFailed(Cancellation);
            }
        }
    }

    /// <summary>Copies a dense tensor to host memory of the same size. In measure mode the host memory is left as it is.</summary>
    public unsafe void Read<T>(Tensor source, Span<T> values) where T : unmanaged
    {
        CheckSize(source, (long)values.Length * sizeof(T));
        if (!IsMeasuring)
        {
            fixed (T* host = values)
            {
                Interop.sdn_download(Handle, host, source.Data, source.Bytes).ThrowIfFailed(Cancellation);
            }
        }
    }

    /// <summary>Waits until all ops called so far are done. On a CPU device they are.</summary>
    /// <exception cref="DeviceFaultException">One of them failed on the device.</exception>
    public void Synchronize() => Interop.sdn_exec_synchronize(Handle).ThrowIfFailed(Cancellation);

    /// <summary>The CUstream that ops are queued on, for kernels of your own; 0 on other devices. See docs/interop.md.</summary>
    public unsafe nint NativeStream
    {
        get
        {
            nint stream;
            Interop.sdn_exec_get_stream(Handle, &stream).ThrowIfFailed();
            return stream;
        }
    }

    /// <summary>The kernels that the last op ran, such as "sm80_gemm_128x160x32_split4"; empty where they have no names.</summary>
    public unsafe string LastKernels => Marshal.PtrToStringUTF8((nint)Interop.sdn_exec_last_kernels(Handle)) ?? "";

    /// <summary>
    /// From here to <see cref="EndCapture"/> ops are recorded, not run. Run the same ops once before; nothing between may wait for the device
    /// or move data to or from the host. CUDA devices only.
    /// </summary>
    /// <exception cref="NotSupportedException">Not a CUDA device.</exception>
    public void BeginCapture() => Interop.sdn_capture_begin(Handle).ThrowIfFailed(Cancellation);

    /// <summary>Ends the capture.</summary>
    /// <returns>What was recorded. It works in this exec's arena, which must be left alone while it is in use.</returns>
    public unsafe Graph EndCapture()
    {
        nint graph;
        Interop.sdn_capture_end(Handle, &graph).ThrowIfFailed(Cancellation);
        return new Graph(new GraphHandle(graph, Handle));
    }

    /// <summary>Records the ops that <paramref name="ops"/> calls. When it throws, the capture is ended and void.</summary>
    public Graph Capture(Action ops)
    {
        BeginCapture();
        try
        {
            ops();
        }
        catch
        {
            AbandonCapture();
            throw;
        }
        return EndCapture();
    }

    /// <summary>Frees everything in the arena, zeroes the counters and takes back a cancellation.</summary>
    public void Reset() => Interop.sdn_exec_reset(Handle).ThrowIfFailed();

    /// <inheritdoc />
    public void Dispose()
    {
        _registration.Dispose();
        Handle.Dispose();
    }

    internal ExecHandle Handle { get; }

    internal void Free(Tensor tensor) => Interop.sdn_exec_free(Handle, tensor.Data).ThrowIfFailed();

    internal void Check(Status status)
    {
        status.ThrowIfFailed(Cancellation);
        OpCompleted?.Invoke(this);
    }

    private unsafe void AbandonCapture()
    {
        nint graph;
        if (Interop.sdn_capture_end(Handle, &graph) == Status.Ok)
        {
            new GraphHandle(graph, Handle).Dispose();
        }
    }

    private void Cancel()
    {
        try
        {
            Interop.sdn_exec_cancel(Handle).ThrowIfFailed();
        }
        catch (ObjectDisposedException)
        {
            // The generation ended between the cancellation and this call: nothing is left to cancel.
        }
    }

    private static void CheckSize(Tensor tensor, long bytes)
    {
        if (!tensor.IsDense || tensor.Bytes != bytes)
        {
            throw new ArgumentException($"{tensor} has {tensor.Bytes} bytes (dense: {tensor.IsDense}), the host memory {bytes}");
        }
    }
}

/// <summary>Hears of every layer that runs, by its checkpoint path.</summary>
public interface ILayerTrace
{
    /// <summary>A layer begins.</summary>
    void Enter(string path, Exec exec);

    /// <summary>The innermost layer that began ends.</summary>
    void Leave(string path, Exec exec);
}
