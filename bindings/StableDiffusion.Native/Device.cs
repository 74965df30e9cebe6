using System.Runtime.InteropServices;
using System.Text;

namespace StableDiffusion.Native;

/// <summary>The kinds of device an op can run on.</summary>
public enum DeviceKind
{
    /// <summary>The processor, with a thread pool shared by the whole process.</summary>
    Cpu = 0,
    /// <summary>An NVIDIA GPU.</summary>
    Cuda = 1,
}

/// <summary>What a CPU device may do with matrices and convolutions to be faster. A CUDA device takes no notice.</summary>
public enum Precision
{
    /// <summary>Products of float32, 16-bit weights widened: what the fixtures' limits hold for.</summary>
    Reference = 0,
    /// <summary>3x3 convolutions by Winograd's F(4x4,3x3); products in 16 bits for weights kept so, as <see cref="DeviceInfo.ProductDType"/> tells. See docs/numerics.md.</summary>
    Fast = 1,
}

/// <summary>What a device is and has. Bytes are those available under this process's limits (cgroup included).</summary>
/// <param name="Kind">CPU or CUDA.</param>
/// <param name="Index">Among those of its kind.</param>
/// <param name="Name">Of the product.</param>
/// <param name="InstructionSet">"portable", "avx2", "avx512", "avx512bf16"; CUDA: "sm_90".</param>
/// <param name="Threads">CPU worker threads, the caller included.</param>
/// <param name="TotalBytes">All memory.</param>
/// <param name="FreeBytes">Memory available now.</param>
/// <param name="Emulated">CUDA kernels that run on the CPU, for tests.</param>
/// <param name="Multiprocessors">CUDA: their number.</param>
/// <param name="ThreadsPerMultiprocessor">CUDA: the most that one holds at a time.</param>
/// <param name="Lost">Whether a fault ended the device for this process.</param>
/// <param name="Precision">CPU: how it multiplies.</param>
/// <param name="ProductDType">CPU: what weights kept in 16 bits are multiplied in. Float32 but in fast precision: there BFloat16, of weights kept so, where the processor
/// multiplies pairs of them faster than float32 (AMD Zen 4 and later) or where the device was named <c>cpu:avx512bf16</c>; and Float16 where it has AVX512_FP16.</param>
public sealed record DeviceInfo(DeviceKind Kind, int Index, string Name, string InstructionSet, int Threads, long TotalBytes, long FreeBytes,
    bool Emulated = false, int Multiprocessors = 0, int ThreadsPerMultiprocessor = 0, bool Lost = false, Precision Precision = Precision.Reference,
    DType ProductDType = DType.Float32)
{
    /// <summary>
    /// What a CPU multiplies beside weights of that storage: float32, or in fast precision <see cref="ProductDType"/>, where that is Float16 for both 16-bit
    /// types, and where it is BFloat16 for itself only.
    /// </summary>
    public DType ProductDTypeFor(DType weights) =>
        weights == ProductDType || (weights == DType.BFloat16 && ProductDType == DType.Float16) ? ProductDType : DType.Float32;
}

/// <summary>A processor or GPU. Thread-safe. Dispose after everything made from it; <see cref="Auto"/> needs no disposing.</summary>
public sealed class Device : IDisposable
{
    private static readonly Lazy<Device> SharedAuto = new(() => OpenBest(0, Precision.Reference, shared: true));
    private readonly bool _shared;

    private unsafe Device(string name, int threads, Precision precision, bool shared)
    {
        nint handle;
        Interop.sdn_device_open(name, threads, (int)precision, &handle).ThrowIfFailed();
        Handle = new DeviceHandle(handle);
        _shared = shared;
        Spec = name;
        DeviceInfo info = Info;
        Kind = info.Kind;
        Threads = info.Threads;
    }

    /// <summary>The best device of this machine, opened once per process: a GPU where there is one, else the processor. <see cref="Reason"/> says why.</summary>
    public static Device Auto => SharedAuto.Value;

    /// <summary>Opens a device by name: <c>cpu</c>, <c>cpu:portable</c>, <c>cpu:avx2</c>, <c>cpu:avx512</c>, <c>cpu:avx512bf16</c>, <c>cuda</c>, <c>cuda:1</c>,
    /// <c>cuda:emulated</c> (the CUDA kernels on the CPU, in builds for tests) or <c>auto</c>.</summary>
    /// <param name="name">The device's name.</param>
    /// <param name="threads">CPU worker threads, the caller included; 0 = one per available core.</param>
    /// <param name="precision">How a CPU device multiplies.</param>
    /// <exception cref="DeviceNotFoundException">No such device, or a name that is none of the above; the text says why.</exception>
    /// <exception cref="ArgumentException">An empty name, or an impossible number of threads.</exception>
    public static Device Open(string name, int threads = 0, Precision precision = Precision.Reference)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        return name == "auto" ? OpenBest(threads, precision, shared: false) : new Device(name, threads, precision, shared: false);
    }

    /// <summary>Number of devices of a kind, and the reason when there are none.</summary>
    public static unsafe (int Count, string? Reason) Count(DeviceKind kind)
    {
        int count;
        Interop.sdn_device_count((int)kind, &count).ThrowIfFailed();
        return (count, count == 0 ? Interop.LastError : null);
    }

    /// <summary>The name it was opened by.</summary>
    public string Spec { get; }

    /// <summary>CPU or CUDA.</summary>
    public DeviceKind Kind { get; }

    /// <summary>CPU worker threads, the caller included.</summary>
    public int Threads { get; }

    /// <summary>
    /// Whether ops are queued and done later: on a CUDA device, unless the environment variable SDN_CUDA_SYNC=1 makes every op wait, so that a
    /// fault names its op.
    /// </summary>
    public bool WorksBehindCalls => Kind == DeviceKind.Cuda && (Environment.GetEnvironmentVariable("SDN_CUDA_SYNC") is null or "" or "0");

    /// <summary>Why this device was chosen, when it was chosen automatically.</summary>
    public string? Reason { get; private init; }

    /// <summary>Name and memory, asked anew at each call.</summary>
    public unsafe DeviceInfo Info
    {
        get
        {
            NativeDeviceInfo info;
            Interop.sdn_device_get_info(Handle, &info).ThrowIfFailed();
            return new DeviceInfo((DeviceKind)info.Kind, info.Index, Text(info.Name), Text(info.InstructionSet), info.Threads, info.TotalBytes, info.FreeBytes,
                info.Emulated != 0, info.Multiprocessors, info.ThreadsPerMultiprocessor, info.Lost != 0, (Precision)info.Precision, (DType)info.ProductDType);
        }
    }

    /// <summary>The CUcontext (the device's primary one) for CUDA code of your own; 0 on other devices. See docs/interop.md.</summary>
    public unsafe nint NativeContext
    {
        get
        {
            nint context;
            Interop.sdn_device_get_context(Handle, &context).ThrowIfFailed();
            return context;
        }
    }

    /// <summary>
    /// The type of activations beside weights of that storage: on a CUDA device the same, on a CPU float32, whatever the weights are kept in.
    /// </summary>
    public DType ActivationDType(DType weights) => Kind == DeviceKind.Cuda ? weights : DType.Float32;

    /// <summary>
    /// Measures the peak of multiply-adds over all threads, in GFLOP/s, in about <paramref name="seconds"/>: of what is multiplied beside weights of that
    /// <paramref name="dtype"/> (<see cref="DeviceInfo.ProductDTypeFor"/>), on a CUDA device of float16.
    /// </summary>
    public unsafe double MeasurePeakGflops(double seconds = 0.2, DType dtype = DType.Float32)
    {
        double gflops;
        Interop.sdn_device_measure_peak(Handle, (int)dtype, seconds, &gflops).ThrowIfFailed();
        return gflops;
    }

    internal DeviceHandle Handle { get; }

    /// <inheritdoc />
    public void Dispose()
    {
        if (!_shared)
        {
            Handle.Dispose();
        }
    }

    /// <inheritdoc />
    public override string ToString() => Spec;

    /// <summary>The first CUDA device where there is one that opens, else the processor.</summary>
    private static Device OpenBest(int threads, Precision precision, bool shared)
    {
        (int count, string? reason) = Count(DeviceKind.Cuda);
        if (count == 0)
        {
            return new Device("cpu", threads, precision, shared) { Reason = $"cpu, because there is no CUDA device: {reason}" };
        }
        try
        {
            return new Device("cuda:0", threads, precision, shared) { Reason = $"cuda:0, the first of {count} CUDA device(s)" };
        }
        catch (NativeException unusable)
        {
            return new Device("cpu", threads, precision, shared) { Reason = $"cpu, because cuda:0 cannot be used: {unusable.Message}" };
        }
    }

    private static string Text(ReadOnlySpan<byte> utf8)
    {
        int end = utf8.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? utf8 : utf8[..end]).Trim();
    }
}
