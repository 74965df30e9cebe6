using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Imaging;

/// <summary>One chunk of a PNG file whose check value is right.</summary>
/// <param name="Type">Four ASCII letters.</param>
/// <param name="Data">Its content.</param>
internal readonly record struct PngChunk(string Type, ReadOnlyMemory<byte> Data)
{
    // Length, type and check value.
    private const int Overhead = 12;

    /// <summary>True if a reader must not go on without understanding it: the first letter is a capital.</summary>
    public bool IsCritical => char.IsAsciiLetterUpper(Type[0]);

    /// <summary>All chunks of a file up to and with IEND, each checked when it is reached. What follows IEND is ignored.</summary>
    /// <exception cref="InvalidImageException">It is no PNG file, is cut short, or a check value is wrong.</exception>
    public static IEnumerable<PngChunk> Enumerate(string name, ReadOnlyMemory<byte> file)
    {
        CheckSignature(name, file.Span);
        int at = PngWriter.Signature.Length;
        while (true)
        {
            PngChunk chunk = Read(name, file, at);
            yield return chunk;
            if (chunk.Type == "IEND")
            {
                yield break;
            }

            at += Overhead + chunk.Data.Length;
        }
    }

    private static PngChunk Read(string name, ReadOnlyMemory<byte> file, int at)
    {
        if (file.Length - at < Overhead)
        {
            throw ImageFile.Bad(name, "it is cut short");
        }

        uint length = BinaryPrimitives.ReadUInt32BigEndian(file.Span[at..]);
        if (length > file.Length - at - Overhead)
        {
            throw ImageFile.Bad(name, "it is cut short");
        }

        ReadOnlyMemory<byte> type = file.Slice(at + 4, 4);
        ReadOnlyMemory<byte> data = file.Slice(at + 8, (int)length);
        foreach (byte letter in type.Span)
        {
            if (!char.IsAsciiLetter((char)letter))
            {
                throw ImageFile.Bad(name, "it is damaged: a chunk's type is not four letters");
            }
        }

        string typeText = Encoding.ASCII.GetString(type.Span);
        uint stored = BinaryPrimitives.ReadUInt32BigEndian(file.Span[(at + 8 + (int)length)..]);
        return stored == Crc32.Of(type.Span, data.Span)
            ? new PngChunk(typeText, data)
            : throw ImageFile.Bad(name, $"it is damaged: the check value of its chunk '{typeText}' is wrong");
    }

    private static void CheckSignature(string name, ReadOnlySpan<byte> file)
    {
        if (file.StartsWith(PngWriter.Signature))
        {
            return;
        }

        throw ImageFile.Bad(name, $"{ImageFile.Describe(file)}, but a PNG file is needed here");
    }
}
