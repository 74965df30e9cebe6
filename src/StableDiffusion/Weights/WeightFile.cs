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
            if (!IsSafetensors(begin) && FirstVisible(begin) is '{' or '[')
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
        if (IsSafetensors(begin))
        {
            return SafetensorsFile.Open(file);
        }

        if (TorchFile.IsZip(begin) || IsPickle(begin))
        {
            return TorchFile.Open(file);
        }

        if (Foreign(begin) is { } what)
        {
            throw SafetensorsHeader.Bad(file.Path, what);
        }

        return file.Path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)
            ? SafetensorsFile.Open(file) // Which says what is wrong with it.
            : throw SafetensorsHeader.Bad(file.Path, Unknown(file));
    }

    // What people have taken for weights before, by its first bytes.
    private static string? Foreign(ReadOnlySpan<byte> begin)
    {
        if (begin.IsEmpty)
        {
            return "it is empty (0 bytes), so its download failed";
        }

        if (begin.StartsWith("version https://git-lfs"u8))
        {
            return "it is only a pointer of Git LFS to the real file; run 'git lfs pull' or download the file itself";
        }

        if (FirstVisible(begin) == '<')
        {
            return "it is a web page (HTML), not a file of weights; the download link may need a login";
        }

        if (FirstVisible(begin) is '{' or '[')
        {
            return "it is JSON, not a file of weights";
        }

        if (begin.StartsWith("GGUF"u8) || begin.StartsWith("lmgg"u8) || begin.StartsWith("tjgg"u8))
        {
            return "it is a GGUF file of quantised weights, which are not supported; get a .safetensors file of this model";
        }

        if (begin.StartsWith((ReadOnlySpan<byte>)[0x89, (byte)'H', (byte)'D', (byte)'F']))
        {
            return "it is an HDF5 file of Keras, which is not supported; get a .safetensors file of this model";
        }

        // The first field of an ONNX model is its version of the format, the second its producer's name.
        return begin is [0x08, > 0 and < 32, 0x12, ..] ? "it is an ONNX model, which is not supported; get a .safetensors file of this model" : null;
    }

    // Protocols 2 to 5 begin with their number; an older one of torch.save begins with its magic number.
    private static bool IsPickle(ReadOnlySpan<byte> begin) => begin is [0x80, >= 2 and <= 5, ..] || begin.StartsWith("L119547037146038801333356L\n"u8);

    // A pickle of protocol 0 or 1 has no mark of its own. One that would do harm is named as such.
    private static string Unknown(PositionedFile file)
    {
        try
        {
            TorchFile.Open(file);
        }
        catch (InvalidWeightsException failure) when (!failure.IsHarmful)
        {
            // No pickle at all, as expected.
        }

        return "it is neither a safetensors file nor one of PyTorch";
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
