using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Weights.Torch;

/// <summary>The bytes of pickles in a file, read in order through a small buffer and never past their limit.</summary>
internal sealed class PickleInput
{
    /// <summary>The most bytes that pickles may have: gigabytes of weights need well under one megabyte of pickle.</summary>
    public const long MaxBytes = 64 << 20;

    private const string Part = "its pickled part";
    private const int MaxLine = 4096;

    private readonly PositionedFile file;
    private readonly long end;
    private readonly bool limited;
    private readonly byte[] buffer = new byte[64 << 10];
    private long bufferBegin;
    private int bufferCount;

    /// <summary>Reads from a place in a file.</summary>
    /// <param name="file">The file; stays open while reading.</param>
    /// <param name="begin">Bytes from the beginning of the file.</param>
    /// <param name="end">Where the pickles end at the latest.</param>
    public PickleInput(PositionedFile file, long begin, long end)
    {
        this.file = file;
        this.end = Math.Min(end, begin + MaxBytes);
        limited = this.end < end;
        Position = bufferBegin = begin;
    }

    /// <summary>The file's path, for messages.</summary>
    public string Path => file.Path;

    /// <summary>Bytes from the beginning of the file to what is read next.</summary>
    public long Position { get; private set; }

    /// <summary>One byte.</summary>
    public byte ReadByte()
    {
        int at = (int)(Position - bufferBegin);
        if (at >= bufferCount)
        {
            Fill();
            at = 0;
        }

        Position++;
        return buffer[at];
    }

    /// <summary>Bytes in an array of their own; the count is checked against what is there before memory is taken.</summary>
    public byte[] ReadBytes(ulong count)
    {
        if (count > (ulong)(end - Position))
        {
            throw Ended();
        }

        byte[] bytes = new byte[count];
        for (int done = 0; done < bytes.Length;)
        {
            int at = (int)(Position - bufferBegin);
            if (at >= bufferCount)
            {
                Fill();
                at = 0;
            }

            int part = Math.Min(bytes.Length - done, bufferCount - at);
            buffer.AsSpan(at, part).CopyTo(bytes.AsSpan(done));
            done += part;
            Position += part;
        }

        return bytes;
    }

    /// <summary>Little-endian unsigned numbers of 2, 4 and 8 bytes.</summary>
    public ulong ReadUnsigned(int bytes)
    {
        Span<byte> number = stackalloc byte[sizeof(ulong)];
        number.Clear();
        for (int i = 0; i < bytes; i++)
        {
            number[i] = ReadByte();
        }

        return BinaryPrimitives.ReadUInt64LittleEndian(number);
    }

    /// <summary>Text up to the end of the line, without it: what the opcodes of protocol 0 have.</summary>
    public string ReadLine()
    {
        StringBuilder line = new();
        for (byte next = ReadByte(); next != (byte)'\n'; next = ReadByte())
        {
            if (line.Length == MaxLine)
            {
                throw Bad($"it has a line of over {MaxLine} characters");
            }

            line.Append((char)next);
        }

        return line.ToString();
    }

    /// <summary>The exception for a pickle that cannot be read.</summary>
    public InvalidWeightsException Bad(string why) => SafetensorsHeader.Bad(Path, $"its pickled part is damaged: {why}");

    private InvalidWeightsException Ended() => SafetensorsHeader.Bad(Path, limited ? $"{Part} is longer than {MaxBytes} bytes" : $"it ends in the middle of {Part}");

    private void Fill()
    {
        if (Position >= end)
        {
            throw Ended();
        }

        bufferBegin = Position;
        bufferCount = (int)Math.Min(buffer.Length, end - Position);
        file.ReadExactly(buffer.AsSpan(0, bufferCount), bufferBegin, Part);
    }
}
