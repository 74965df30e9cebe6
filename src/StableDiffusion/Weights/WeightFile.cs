using System.Buffers.Binary;

namespace StableDiffusion.Weights;

/// <summary>
/// Opens a file of weights by what is in it, whatever its name: safetensors, PyTorch's own files (<c>.ckpt</c>, <c>.pt</c>,
/// <c>.pth</c>, <c>.bin</c>) and an index of shards.
/// </summary>
public static class WeightFile
{
    private const int LongestMagic = 512;

    /// <summary>Opens a file of weights, or an index with all its shards.</summary>
    /// <exception cref="InvalidWeightsException">
    /// The file is missing or damaged, is something else (then the message says what), or asks Python to run something that weights
    /// have no need of.
    /// </exception>
    public static IWeightSource Open(string path)
    {
        PositionedFile file = PositionedFile.Open(path);
        try
        {
            byte[] begin = file.ReadBytes(0, (int)Math.Min(LongestMagic, file.Length), "its first bytes");
            if (!IsSafetensors(begin) && FirstVisible(begin) == '{')
            {
                file.Dispose();
                return ShardedWeights.Open(path);
            }

            return Open(file, begin);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Opens one file of weights, and no index: an index must not lead to itself.</summary>
    /// <exception cref="InvalidWeightsException">As for <see cref="Open(string)"/>.</exception>
    internal static IWeightSource OpenFile(string path)
    {
        PositionedFile file = PositionedFile.Open(path);
        try
        {
            return Open(file, file.ReadBytes(0, (int)Math.Min(LongestMagic, file.Length), "its first bytes"));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static IWeightSource Open(PositionedFile file, byte[] begin)
    {
        return SafetensorsFile.Open(file);
    }

    // 8 bytes of length and then JSON. The length is not looked at here, so that a truncated file is told from a foreign one.
    private static bool IsSafetensors(ReadOnlySpan<byte> begin)
        => begin.Length > sizeof(ulong) && begin[sizeof(ulong)] == '{' && BinaryPrimitives.ReadUInt64LittleEndian(begin) <= SafetensorsFile.MaxHeaderBytes;

    private static char FirstVisible(ReadOnlySpan<byte> begin)
    {
        foreach (byte value in begin.StartsWith("\uFEFF"u8) ? begin[3..] : begin)
        {
            if (value is not ((byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n'))
            {
                return (char)value;
            }
        }

        return '\0';
    }
}
