namespace StableDiffusion.Native;

/// <summary>What a weight is for; the values are those of sdn.h.</summary>
public enum WeightKind
{
    /// <summary>Linear layer or 1x1 convolution, parts <c>[out,in]</c> or <c>[out,in,1,1]</c>.</summary>
    Matrix = 0,
    /// <summary>Convolution, one part <c>[out,in,kh,kw]</c>.</summary>
    Conv2d = 1,
    /// <summary>Scale (part) and shift (bias) of a norm, <c>[C]</c>.</summary>
    Norm = 2,
    /// <summary>Embedding table <c>[rows,C]</c>.</summary>
    Embedding = 3,
}

/// <summary>A tensor in host memory, dense and row-major, as it stands in a weights file.</summary>
public readonly record struct HostView(ReadOnlyMemory<byte> Bytes, DType DType, long[] Shape)
{
    /// <summary>Rows <c>[start, start+count)</c> of the first dimension.</summary>
    public HostView Rows(long start, long count)
    {
        long rowBytes = Bytes.Length / Shape[0];
        long[] shape = [count, .. Shape[1..]];
        return new HostView(Bytes.Slice(checked((int)(start * rowBytes)), checked((int)(count * rowBytes))), DType, shape);
    }
}

/// <summary>Immutable, packed for the device's kernels. Thread-safe. Dispose it, or the model that holds it.</summary>
public sealed class Weight : IDisposable
{
    private readonly WeightHandle _handle;

    private Weight(WeightHandle handle, NativeWeightInfo info) =>
        (_handle, Kind, Storage, Rows, Columns, Bytes) =
        (handle, (WeightKind)info.Kind, (DType)info.Storage, info.Rows, info.Columns, info.Bytes);

    /// <summary>Packs a weight from its logical parts, stacked along the output (query | key | value). Thread-safe.</summary>
    /// <param name="device">Where it will be used.</param>
    /// <param name="kind">What for.</param>
    /// <param name="storage">
    /// Float32, Float16 or BFloat16; norms and biases are kept in Float32. Int8 for matrices and convolutions whose inputs come in fours, on a CPU with
    /// AVX512_VNNI.
    /// </param>
    /// <param name="parts">The parts; only a matrix may have more than one.</param>
    /// <param name="biases">One per part, or none. A norm's shift is its bias.</param>
    /// <param name="geglu">Two parts, values and gates, for <see cref="Activation.Geglu"/>.</param>
    /// <param name="doubles">A 3x3 convolution that will see images doubled by nearest neighbour; a device may keep sums for it.</param>
    /// <exception cref="ArgumentException">Shapes or dtypes that do not fit the kind.</exception>
    /// <exception cref="NotSupportedException">Int8, where the device does not multiply bytes.</exception>
    /// <exception cref="OutOfDeviceMemoryException">It does not fit.</exception>
    public static unsafe Weight Create(Device device, WeightKind kind, DType storage, ReadOnlySpan<HostView> parts, ReadOnlySpan<HostView> biases = default,
        bool geglu = false, bool doubles = false)
    {
        if (biases.Length != 0 && biases.Length != parts.Length)
        {
            throw new ArgumentException($"{parts.Length} parts but {biases.Length} biases");
        }
        var pins = new System.Buffers.MemoryHandle[parts.Length + biases.Length];
        try
        {
            NativeTensor[] nativeParts = Pin(parts, pins.AsSpan(0, parts.Length));
            NativeTensor[] nativeBiases = Pin(biases, pins.AsSpan(parts.Length));
            nint native;
            fixed (NativeTensor* p = nativeParts, b = nativeBiases)
            {
                var desc = new NativeWeightDesc
                {
                    Kind = (int)kind,
                    Storage = (int)storage,
                    PartCount = parts.Length,
                    Geglu = geglu ? 1 : 0,
                    Doubles = doubles ? 1 : 0,
                    Parts = p,
                    Biases = b,
                };
                Interop.sdn_weight_create(device.Handle, &desc, &native).ThrowIfFailed();
            }
            var handle = new WeightHandle(native, device.Handle);
            NativeWeightInfo info;
            Interop.sdn_weight_get_info(handle, &info).ThrowIfFailed();
            return new Weight(handle, info);
        }
        finally
        {
            foreach (System.Buffers.MemoryHandle pin in pins)
            {
                pin.Dispose();
            }
        }
    }

    /// <summary>What it is for.</summary>
    public WeightKind Kind { get; }

    /// <summary>Its storage type.</summary>
    public DType Storage { get; }

    /// <summary>Outputs of all parts; norm: channels; embedding: rows.</summary>
    public long Rows { get; }

    /// <summary>Inputs; convolution: in*kh*kw.</summary>
    public long Columns { get; }

    /// <summary>Device memory it takes.</summary>
    public long Bytes { get; }

    /// <summary>The logical weight in its storage type (Int8: in Float32, what the bytes stand for), parts stacked; and its bias, empty when it has none is left untouched.</summary>
    public unsafe void Unpack(Span<byte> values, Span<float> bias)
    {
        long needed = Rows * Columns * (Storage == DType.Int8 ? DType.Float32 : Storage).Size();
        if (values.Length != 0 && values.Length < needed)
        {
            throw new ArgumentException($"the weight has {needed} bytes, the buffer {values.Length}", nameof(values));
        }
        if (bias.Length != 0 && bias.Length < Rows)
        {
            throw new ArgumentException($"the bias has {Rows} values, the buffer {bias.Length}", nameof(bias));
        }
        fixed (byte* v = values)
        fixed (float* b = bias)
        {
            Interop.sdn_weight_unpack(_handle, v, b).ThrowIfFailed();
        }
    }

    /// <inheritdoc />
    public void Dispose() => _handle.Dispose();

    internal WeightHandle Handle => _handle;

    private static unsafe NativeTensor[] Pin(ReadOnlySpan<HostView> views, Span<System.Buffers.MemoryHandle> pins)
    {
        var tensors = new NativeTensor[views.Length];
        for (int i = 0; i < views.Length; i++)
        {
            HostView view = views[i];
            Tensor tensor = new(0, view.DType, view.Shape, null);
            if (tensor.Bytes != view.Bytes.Length)
            {
                throw new ArgumentException($"{tensor} has {tensor.Bytes} bytes, the host memory {view.Bytes.Length}");
            }
            pins[i] = view.Bytes.Pin();
            tensors[i] = tensor.Native;
            tensors[i].Data = (nint)pins[i].Pointer;
        }
        return tensors;
    }
}
