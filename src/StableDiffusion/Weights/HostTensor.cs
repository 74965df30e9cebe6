using System.Buffers;
using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace StableDiffusion.Weights;

/// <summary>
/// A tensor in host memory, packed and row-major in its stored type, 64-byte aligned: what a layer hands to the native packer. The
/// memory is outside the garbage-collected heap, so that loading gigabytes costs no more than the tensors being packed at the time.
/// Dispose it as soon as it is packed.
/// </summary>
public sealed class HostTensor : IDisposable
{
    private readonly Block block;
    private readonly BlockMemory memory;

    /// <summary>Creates a tensor with undefined content.</summary>
    /// <param name="name">Full key in the checkpoint, for messages.</param>
    /// <param name="info">Type and shape.</param>
    /// <exception cref="InvalidWeightsException">The tensor is larger than 2 GB or its type is not one of <c>sdn.h</c>.</exception>
    public HostTensor(string name, WeightInfo info)
    {
        Name = name;
        Info = info;
        int bytes = BytesOf(name, info);
        block = new Block(bytes);
        memory = new BlockMemory(block, bytes);
    }

    /// <summary>Full key in the checkpoint.</summary>
    public string Name { get; }

    /// <summary>Type and shape.</summary>
    public WeightInfo Info { get; }

    /// <summary>Element type.</summary>
    public WeightDType DType => Info.DType;

    /// <summary>Dimensions, row-major.</summary>
    public ImmutableArray<long> Shape => Info.Shape;

    /// <summary>The whole content.</summary>
    /// <exception cref="ObjectDisposedException">The tensor was disposed.</exception>
    public Span<byte> Bytes => memory.GetSpan();

    /// <summary>The whole content, for callers that keep it in a field; use it only until the tensor is disposed.</summary>
    public ReadOnlyMemory<byte> Memory => memory.Memory;

    /// <summary>Address of the first byte; valid until the tensor is disposed.</summary>
    /// <exception cref="ObjectDisposedException">The tensor was disposed.</exception>
    public nint Address => block.Address;

    /// <summary>Converts the content to float32. BF16 and F16 convert exactly, F64 rounds to nearest.</summary>
    /// <param name="destination">Exactly as many elements as the tensor has.</param>
    /// <exception cref="InvalidOperationException">The type is not F32, F16, BF16 or F64.</exception>
    public void CopyTo(Span<float> destination)
    {
        if (destination.Length != Info.ElementCount)
        {
            throw new ArgumentException($"The tensor '{Name}' has {Info.ElementCount} elements, but the destination has {destination.Length}.", nameof(destination));
        }

        switch (DType)
        {
            case WeightDType.Float32:
                MemoryMarshal.Cast<byte, float>(Bytes).CopyTo(destination);
                break;
            case WeightDType.Float16:
                ReadOnlySpan<Half> halves = MemoryMarshal.Cast<byte, Half>(Bytes);
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = (float)halves[i];
                }

                break;
            case WeightDType.BFloat16:
                ReadOnlySpan<ushort> upperHalves = MemoryMarshal.Cast<byte, ushort>(Bytes);
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = BitConverter.UInt32BitsToSingle((uint)upperHalves[i] << 16);
                }

                break;
            case WeightDType.Float64:
                ReadOnlySpan<double> doubles = MemoryMarshal.Cast<byte, double>(Bytes);
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = (float)doubles[i];
                }

                break;
            default:
                throw new InvalidOperationException($"The tensor '{Name}' is {DType.SafetensorsName()}, which is no layer weight.");
        }
    }

    /// <summary>The content converted to float32, row-major.</summary>
    public float[] ToArray()
    {
        float[] values = new float[Info.ElementCount];
        CopyTo(values);
        return values;
    }

    /// <inheritdoc/>
    public void Dispose() => block.Dispose();

    /// <summary>Bytes of a tensor in one piece of memory.</summary>
    /// <exception cref="InvalidWeightsException">They are more than 2 GB.</exception>
    internal static int BytesOf(string name, WeightInfo info) => info.ByteCount is <= int.MaxValue and long bytes
        ? (int)bytes
        : throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(name)} has {info.ByteCount} bytes, and tensors over 2 GB are not supported.");

    private sealed unsafe class Block : SafeHandle
    {
        private const int Alignment = 64;

        public Block(int bytes)
            : base(0, ownsHandle: true)
            => SetHandle((nint)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), Alignment));

        public override bool IsInvalid => handle == 0;

        public nint Address
        {
            get
            {
                ObjectDisposedException.ThrowIf(IsClosed, typeof(HostTensor));
                return handle;
            }
        }

        protected override bool ReleaseHandle()
        {
            NativeMemory.AlignedFree((void*)handle);
            return true;
        }
    }

    private sealed unsafe class BlockMemory(Block block, int bytes) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => new((void*)block.Address, bytes);

        public override MemoryHandle Pin(int elementIndex = 0)
        {
            bool added = false;
            block.DangerousAddRef(ref added); // The memory outlives the pin even if the tensor is disposed meanwhile.
            return new MemoryHandle((byte*)block.DangerousGetHandle() + elementIndex, pinnable: this);
        }

        public override void Unpin() => block.DangerousRelease();

        protected override void Dispose(bool disposing)
        {
        }
    }
}
