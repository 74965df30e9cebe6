using System.Runtime.CompilerServices;

namespace StableDiffusion.Native;

/// <summary>Element types; the values are those of sdn.h.</summary>
public enum DType
{
    /// <summary>IEEE binary32.</summary>
    Float32 = 0,
    /// <summary>IEEE binary16.</summary>
    Float16 = 1,
    /// <summary>bfloat16.</summary>
    BFloat16 = 2,
    /// <summary>IEEE binary64.</summary>
    Float64 = 3,
    /// <summary>Signed 32-bit integer.</summary>
    Int32 = 4,
    /// <summary>Signed 64-bit integer.</summary>
    Int64 = 5,
    /// <summary>Unsigned byte.</summary>
    UInt8 = 6,
    /// <summary>Signed byte times a scale: how a CPU device may keep weights; no tensor has it.</summary>
    Int8 = 7,
}

/// <summary>Facts about element types.</summary>
public static class DTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int Size(this DType dtype) => dtype switch
    {
        DType.Float32 or DType.Int32 => 4,
        DType.Float16 or DType.BFloat16 => 2,
        DType.Float64 or DType.Int64 => 8,
        DType.UInt8 or DType.Int8 => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "unknown dtype"),
    };
}

/// <summary>
/// A row-major view of device memory, rank 1 to 4; images are NHWC. A light value: copying it copies the view. One that came from
/// <see cref="Exec.Alloc"/> or an op owns its arena slice: dispose it right after its last use. Views of it own nothing.
/// </summary>
public readonly struct Tensor : IDisposable
{
    private readonly NativeTensor _native;
    private readonly Exec? _owner;

    internal Tensor(nint data, DType dtype, ReadOnlySpan<long> shape, Exec? owner)
    {
        if (shape.Length is < 1 or > 4)
        {
            throw new ArgumentException($"a tensor has 1 to 4 dimensions, not {shape.Length}");
        }
        _native = new NativeTensor { Data = data, DType = (int)dtype, Rank = shape.Length };
        long stride = 1, mostElements = long.MaxValue / dtype.Size();
        for (int i = 3; i >= 0; i--)
        {
            _native.Shape[i] = i < shape.Length ? shape[i] : 1;
            if (i < shape.Length)
            {
                if (shape[i] < 1 || shape[i] > mostElements / stride)
                {
                    throw new ArgumentException($"[{string.Join(",", shape.ToArray())}] is no shape: a dimension is below 1, or the bytes do not fit 64 bits");
                }
                _native.Stride[i] = stride;
                stride *= shape[i];
            }
        }
        _owner = owner;
    }

    private Tensor(in NativeTensor native) => _native = native;

    /// <summary>Address on the device (CUDA: the CUdeviceptr).</summary>
    public nint Data => _native.Data;

    /// <summary>Element type.</summary>
    public DType DType => (DType)_native.DType;

    /// <summary>Number of dimensions; 0 for <c>default</c>, which stands for "no tensor" in ops' optional inputs.</summary>
    public int Rank => _native.Rank;

    /// <summary>Whether this is <c>default</c>.</summary>
    public bool IsNone => _native.Rank == 0;

    /// <summary>The dimensions.</summary>
    public long[] Shape
    {
        get
        {
            var shape = new long[Rank];
            for (int i = 0; i < Rank; i++)
            {
                shape[i] = _native.Shape[i];
            }
            return shape;
        }
    }

    /// <summary>Size of one dimension; negative counts from the last.</summary>
    public long this[int dimension] => _native.Shape[dimension < 0 ? dimension + Rank : dimension];

    /// <summary>Number of elements.</summary>
    public long Count => Rank == 0 ? 0 : _native.Shape[0] * _native.Shape[1] * _native.Shape[2] * _native.Shape[3];

    /// <summary>Bytes of a dense tensor of this shape.</summary>
    public long Bytes => Count * DType.Size();

    /// <summary>Whether the strides are those of a packed row-major array.</summary>
    public bool IsDense
    {
        get
        {
            long stride = 1;
            for (int i = Rank - 1; i >= 0; i--)
            {
                if (_native.Shape[i] != 1 && _native.Stride[i] != stride)
                {
                    return false;
                }
                stride *= _native.Shape[i];
            }
            return true;
        }
    }

    /// <summary>The same dense memory under another shape of equal count: <c>[B,H,W,C]</c> as tokens <c>[B,H*W,C]</c>.</summary>
    public Tensor View(params ReadOnlySpan<long> shape)
    {
        var view = new Tensor(Data, DType, shape, null);
        if (!IsDense || view.Count != Count)
        {
            throw new ArgumentException($"cannot view {this} as [{string.Join(",", shape.ToArray())}]");
        }
        return view;
    }

    /// <summary>The part <c>[start, start+length)</c> of one dimension, over the same memory.</summary>
    public Tensor Slice(int dimension, long start, long length)
    {
        int d = dimension < 0 ? dimension + Rank : dimension;
        if (start < 0 || length < 1 || start + length > _native.Shape[d])
        {
            throw new ArgumentOutOfRangeException(nameof(start), $"slice [{start},{start + length}) of dimension {d} of {this}");
        }
        NativeTensor native = _native;
        native.Data += (nint)(start * native.Stride[d] * DType.Size());
        native.Shape[d] = length;
        return new Tensor(native);
    }

    /// <summary>The dimensions in another order, over the same memory: <c>Permute(0,3,1,2)</c> sees NHWC as NCHW.</summary>
    public Tensor Permute(params ReadOnlySpan<int> order)
    {
        int seen = 0;
        foreach (int dimension in order)
        {
            seen |= 1 << dimension;
        }
        if (order.Length != Rank || seen != (1 << Rank) - 1)
        {
            throw new ArgumentException($"[{string.Join(",", order.ToArray())}] is no order of the dimensions of {this}");
        }
        NativeTensor native = _native;
        for (int i = 0; i < Rank; i++)
        {
            native.Shape[i] = _native.Shape[order[i]];
            native.Stride[i] = _native.Stride[order[i]];
        }
        return new Tensor(native);
    }

    /// <summary>A view in which dimensions of 1 repeat without more memory, for <see cref="Ops.Copy"/> from it.</summary>
    public Tensor Expand(params ReadOnlySpan<long> shape)
    {
        NativeTensor native = _native;
        for (int i = 0; i < Rank; i++)
        {
            if (shape.Length != Rank || (shape[i] != native.Shape[i] && native.Shape[i] != 1))
            {
                throw new ArgumentException($"cannot expand {this} to [{string.Join(",", shape.ToArray())}]");
            }
            native.Stride[i] = shape[i] == native.Shape[i] ? native.Stride[i] : 0;
            native.Shape[i] = shape[i];
        }
        return new Tensor(native);
    }

    /// <summary>Frees the arena slice, if this tensor owns one.</summary>
    public void Dispose() => _owner?.Free(this);

    /// <inheritdoc />
    public override string ToString() => $"{DType}[{string.Join(",", Shape)}]";

    internal NativeTensor Native => _native;
}

/// <summary>A tensor in device memory of its own, that outlives any exec. Dispose it.</summary>
public sealed class DeviceTensor : IDisposable
{
    private readonly BufferHandle _buffer;

    /// <summary>Allocates; the content is undefined.</summary>
    /// <exception cref="OutOfDeviceMemoryException">It does not fit.</exception>
    public unsafe DeviceTensor(Device device, DType dtype, params ReadOnlySpan<long> shape)
    {
        nint data;
        long bytes = new Tensor(0, dtype, shape, null).Bytes;
        Interop.sdn_buffer_alloc(device.Handle, bytes, &data).ThrowIfFailed();
        _buffer = new BufferHandle(data, device.Handle);
        Tensor = new Tensor(data, dtype, shape, null);
    }

    /// <summary>The view to hand to ops; valid until disposal.</summary>
    public Tensor Tensor { get; }

    /// <inheritdoc />
    public void Dispose() => _buffer.Dispose();
}
