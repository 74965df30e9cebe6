using System.Buffers;
using System.Runtime.InteropServices;

namespace StableDiffusion.Weights;

/// <summary>
/// Host memory that is used again for one weight after the other while a model is loaded: fresh memory costs the system several times what
/// reading a file from its cache does. It is outside the garbage-collected heap. One thread at a time may use it.
/// </summary>
internal sealed unsafe class ReadBuffer : IDisposable
{
    private const nuint Alignment = 64;
    private byte* data;
    private nuint capacity;

    /// <summary>What was laid out for is undefined from here on.</summary>
    /// <param name="sizes">Bytes of each block.</param>
    /// <returns>One block of memory for each size, 64-byte aligned, with undefined content; valid until the next call.</returns>
    public Memory<byte>[] Lay(ReadOnlySpan<int> sizes)
    {
        nuint total = 0;
        foreach (int size in sizes)
        {
            total += RoundUp(size);
        }
        if (total > capacity)
        {
            Dispose();
            data = (byte*)NativeMemory.AlignedAlloc(total, Alignment);
            capacity = total;
        }
        var blocks = new Memory<byte>[sizes.Length];
        nuint offset = 0;
        for (int i = 0; i < blocks.Length; i++)
        {
            blocks[i] = new Block(data + offset, sizes[i]).Memory;
            offset += RoundUp(sizes[i]);
        }
        return blocks;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(data);
        data = null;
        capacity = 0;
    }

    private static nuint RoundUp(int bytes) => ((nuint)bytes + Alignment - 1) / Alignment * Alignment;

    /// <summary>Lets memory outside the garbage-collected heap pass as <see cref="Memory{T}"/>.</summary>
    private sealed class Block(byte* data, int bytes) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => new(data, bytes);

        public override MemoryHandle Pin(int elementIndex = 0) => new(data + elementIndex);

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
