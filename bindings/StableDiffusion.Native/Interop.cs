using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

/// <summary>The imports of libsdn, one file per topic. Each signature is written once; native/include/sdn.h is its source.</summary>
internal static partial class Interop
{
    internal const string Library = "sdn";
    internal const int AbiVersion = 4;

    static Interop() => NativeLibrary.SetDllImportResolver(typeof(Interop).Assembly, static (name, _, _) =>
        name == Library ? NativeLibraryLocator.Load() : 0);

    [LibraryImport(Library)] internal static partial int sdn_abi_version();
    [LibraryImport(Library)] internal static partial long sdn_struct_size(int kind);
    [LibraryImport(Library)] internal static unsafe partial byte* sdn_last_error();
    [LibraryImport(Library)] internal static unsafe partial byte* sdn_build_info();

    internal static unsafe string LastError => Marshal.PtrToStringUTF8((nint)sdn_last_error()) ?? "";

    internal static unsafe string BuildInfo => Marshal.PtrToStringUTF8((nint)sdn_build_info()) ?? "";

    /// <summary>The structs that cross the boundary, by their number in sdn.h.</summary>
    internal static readonly (int Kind, int Size, string Name)[] Structs =
    [
        (0, Unsafe.SizeOf<NativeTensor>(), "sdn_tensor"),
        (1, Unsafe.SizeOf<NativeDeviceInfo>(), "sdn_device_info"),
        (2, Unsafe.SizeOf<NativeWeightDesc>(), "sdn_weight_desc"),
        (3, Unsafe.SizeOf<NativeWeightInfo>(), "sdn_weight_info"),
        (4, Unsafe.SizeOf<ExecStats>(), "sdn_exec_stats"),
        (5, Unsafe.SizeOf<Conv2dParams>(), "sdn_conv2d_params"),
        (6, Unsafe.SizeOf<AttentionParams>(), "sdn_attention_params"),
        (7, Unsafe.SizeOf<TimestepParams>(), "sdn_timestep_params"),
    ];
}

/// <summary>sdn_tensor. Rank 1 to 4; shape entries past the rank are 1, stride entries 0.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeTensor
{
    public nint Data;
    public int DType;
    public int Rank;
    public Dims Shape;
    public Dims Stride;
}

[InlineArray(4)]
internal struct Dims
{
    private long _first;
}

[InlineArray(128)]
internal struct Bytes128
{
    private byte _first;
}

[InlineArray(32)]
internal struct Bytes32
{
    private byte _first;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeDeviceInfo
{
    public int Kind, Index, Threads, Emulated;
    public long TotalBytes, FreeBytes;
    public Bytes128 Name;
    public Bytes32 InstructionSet;
    public int Multiprocessors, ThreadsPerMultiprocessor, Lost, Precision, ProductDType, Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeWeightDesc
{
    public int Kind, Storage, PartCount, Geglu, Doubles, Reserved;
    public NativeTensor* Parts;
    public NativeTensor* Biases;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeWeightInfo
{
    public int Kind, Storage;
    public long Rows, Columns, Bytes;
}

[StructLayout(LayoutKind.Sequential)]
internal struct Conv2dParams
{
    public int Stride, PadTop, PadLeft, PadBottom, PadRight, UpsampleHeight, UpsampleWidth, Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct AttentionParams
{
    public int Heads, Causal;
    public float Scale;
    public int Operands;
}

[StructLayout(LayoutKind.Sequential)]
internal struct TimestepParams
{
    public int FlipSinToCos;
    public float DownscaleFreqShift, MaxPeriod;
    public int Reserved;
}
