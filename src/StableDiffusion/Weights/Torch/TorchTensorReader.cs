using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace StableDiffusion.Weights.Torch;

/// <summary>
/// A tensor of a PyTorch file, checked against it, and how to read it: from one place if it is packed, else gathered by its strides.
/// </summary>
internal sealed class TorchTensorReader
{
    // A strided tensor whose elements lie within so many times its own bytes is gathered from memory, else run by run from the file.
    private const int MaxSpread = 4;

    private readonly long begin;
    private readonly long span;
    private readonly ImmutableArray<long> strides;

    private TorchTensorReader(WeightInfo info, long begin, long span, ImmutableArray<long> strides)
    {
        Info = info;
        this.begin = begin;
        this.span = span;
        this.strides = strides;
    }

    /// <summary>Type and shape.</summary>
    public WeightInfo Info { get; }

    private int ElementBytes => Info.DType.Size();

    /// <summary>Checks that a tensor lies within its storage.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="name">The tensor's name, for messages.</param>
    /// <param name="tensor">The tensor as the pickle describes it.</param>
    /// <param name="storage">The bytes of the storage in the file; null if it is not there.</param>
    /// <exception cref="InvalidWeightsException">It does not.</exception>
    public static TorchTensorReader Check(string path, string name, TorchTensor tensor, (long Begin, long Bytes)? storage)
    {
        WeightInfo info = new(tensor.DType, tensor.Shape);
        string what = $"the tensor {SafetensorsHeader.Quote(name)}";
        try
        {
            if (tensor.Shape.Any(side => side < 0) || tensor.Strides.Any(stride => stride < 0) || tensor.Offset < 0 || tensor.View.Offset < 0 || tensor.View.Count < 0)
            {
                throw SafetensorsHeader.Bad(path, $"{what} has a negative size, stride or offset");
            }

            if (storage is not { } bytes)
            {
                throw SafetensorsHeader.Bad(path, $"the storage {SafetensorsHeader.Quote(tensor.View.Storage.Key)} of {what} is missing, so it is truncated or damaged");
            }

            int size = info.DType.Size();
            long viewUnit = tensor.View.DType?.Size() ?? 1;
            long first = checked((tensor.View.Offset * viewUnit) + (tensor.Offset * size));
            long span = info.ByteCount == 0 ? 0 : size;
            for (int i = 0; i < tensor.Shape.Length && span > 0; i++)
            {
                span = checked(span + ((tensor.Shape[i] - 1) * tensor.Strides[i] * size));
            }

            long viewEnd = checked((tensor.View.Offset + tensor.View.Count) * viewUnit);
            if (span > 0 && checked(first + span) > Math.Min(viewEnd, bytes.Bytes))
            {
                throw SafetensorsHeader.Bad(path, $"{what}, {info}, reaches byte {first + span} of its storage, which has only {Math.Min(viewEnd, bytes.Bytes)}");
            }

            return new TorchTensorReader(info, bytes.Begin + first, span, tensor.Strides);
        }
        catch (OverflowException failure)
        {
            throw new InvalidWeightsException($"'{path}' cannot be loaded: the sizes of {what} overflow 64 bits.", failure);
        }
    }

    /// <summary>Reads the tensor, packed and row-major.</summary>
    /// <param name="file">The file.</param>
    /// <param name="name">The tensor's name, for messages.</param>
    /// <param name="bigEndian">True if the file's numbers have their most significant byte first.</param>
    /// <param name="destination">Exactly <see cref="WeightInfo.ByteCount"/> bytes.</param>
    public void Read(PositionedFile file, string name, bool bigEndian, Span<byte> destination)
    {
        string part = $"the tensor {SafetensorsHeader.Quote(name)}";
        (int packedFrom, int runBytes) = PackedPart();
        if (destination.Length == runBytes || destination.IsEmpty)
        {
            file.ReadExactly(destination, begin, part);
        }
        else if (span <= (long)destination.Length * MaxSpread && span <= int.MaxValue)
        {
            byte[] source = file.ReadBytes(begin, (int)span, part);
            Gather(packedFrom, runBytes, destination, (offset, run) => source.AsSpan((int)offset, run.Length).CopyTo(run));
        }
        else
        {
            Gather(packedFrom, runBytes, destination, (offset, run) => file.ReadExactly(run, begin + offset, part));
        }

        if (bigEndian)
        {
            ReverseElements(destination);
        }
    }

    private delegate void CopyRun(long offset, Span<byte> run);

    // The last dimensions that lie in the file as they do in memory, and their bytes. A dimension of size 1 lies anywhere.
    private (int From, int Bytes) PackedPart()
    {
        long packed = 1;
        int from = Info.Shape.Length;
        while (from > 0 && (Info.Shape[from - 1] == 1 || strides[from - 1] == packed))
        {
            from--;
            packed *= Info.Shape[from];
        }

        return (from, (int)(packed * ElementBytes));
    }

    private void Gather(int packedFrom, int runBytes, Span<byte> destination, CopyRun copy)
    {
        long[] index = new long[packedFrom];
        long offset = 0;
        for (int done = 0; done < destination.Length; done += runBytes)
        {
            copy(offset, destination.Slice(done, runBytes));
            for (int i = packedFrom - 1; i >= 0; i--)
            {
                offset += strides[i] * ElementBytes;
                if (++index[i] < Info.Shape[i])
                {
                    break;
                }

                offset -= index[i] * strides[i] * ElementBytes;
                index[i] = 0;
            }
        }
    }

    private void ReverseElements(Span<byte> bytes)
    {
        switch (ElementBytes)
        {
            case 2:
                Span<ushort> two = MemoryMarshal.Cast<byte, ushort>(bytes);
                BinaryPrimitives.ReverseEndianness(two, two);
                break;
            case 4:
                Span<uint> four = MemoryMarshal.Cast<byte, uint>(bytes);
                BinaryPrimitives.ReverseEndianness(four, four);
                break;
            case 8:
                Span<ulong> eight = MemoryMarshal.Cast<byte, ulong>(bytes);
                BinaryPrimitives.ReverseEndianness(eight, eight);
                break;
        }
    }
}
