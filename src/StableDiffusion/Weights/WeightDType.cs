namespace StableDiffusion.Weights;

/// <summary>
/// Element type of a stored tensor. The first seven have the numbers of <c>sdn_tensor.dtype</c>, so a cast converts them; the others
/// can be opened and listed but no layer takes them.
/// </summary>
public enum WeightDType
{
    /// <summary>IEEE 754 single precision, safetensors "F32".</summary>
    Float32 = 0,

    /// <summary>IEEE 754 half precision, safetensors "F16".</summary>
    Float16 = 1,

    /// <summary>The upper half of a float32, safetensors "BF16".</summary>
    BFloat16 = 2,

    /// <summary>IEEE 754 double precision, safetensors "F64".</summary>
    Float64 = 3,

    /// <summary>Signed 32-bit integer, safetensors "I32".</summary>
    Int32 = 4,

    /// <summary>Signed 64-bit integer, safetensors "I64".</summary>
    Int64 = 5,

    /// <summary>Unsigned byte, safetensors "U8".</summary>
    UInt8 = 6,

    /// <summary>One byte per truth value, safetensors "BOOL".</summary>
    Boolean = 16,

    /// <summary>Signed byte, safetensors "I8".</summary>
    Int8 = 17,

    /// <summary>Signed 16-bit integer, safetensors "I16".</summary>
    Int16 = 18,

    /// <summary>Unsigned 16-bit integer, safetensors "U16".</summary>
    UInt16 = 19,

    /// <summary>Unsigned 32-bit integer, safetensors "U32".</summary>
    UInt32 = 20,

    /// <summary>Unsigned 64-bit integer, safetensors "U64".</summary>
    UInt64 = 21,

    /// <summary>8-bit float with 4 exponent bits, safetensors "F8_E4M3".</summary>
    Float8E4M3 = 22,

    /// <summary>8-bit float with 5 exponent bits, safetensors "F8_E5M2".</summary>
    Float8E5M2 = 23,
}

/// <summary>Facts about each <see cref="WeightDType"/>.</summary>
public static class WeightDTypes
{
    private static readonly (WeightDType DType, string Name, int Size)[] Table =
    [
        (WeightDType.Float32, "F32", 4),
        (WeightDType.Float16, "F16", 2),
        (WeightDType.BFloat16, "BF16", 2),
        (WeightDType.Float64, "F64", 8),
        (WeightDType.Int32, "I32", 4),
        (WeightDType.Int64, "I64", 8),
        (WeightDType.UInt8, "U8", 1),
        (WeightDType.Boolean, "BOOL", 1),
        (WeightDType.Int8, "I8", 1),
        (WeightDType.Int16, "I16", 2),
        (WeightDType.UInt16, "U16", 2),
        (WeightDType.UInt32, "U32", 4),
        (WeightDType.UInt64, "U64", 8),
        (WeightDType.Float8E4M3, "F8_E4M3", 1),
        (WeightDType.Float8E5M2, "F8_E5M2", 1),
    ];

    /// <summary>Bytes per element.</summary>
    public static int Size(this WeightDType dtype) => Entry(dtype).Size;

    /// <summary>The name in a safetensors header, such as "BF16".</summary>
    public static string SafetensorsName(this WeightDType dtype) => Entry(dtype).Name;

    /// <summary>True for the types that a layer's weight may be stored in: F32, F16, BF16 and F64.</summary>
    public static bool IsLayerWeight(this WeightDType dtype) => dtype is >= WeightDType.Float32 and <= WeightDType.Float64;

    /// <summary>Finds the type of a name in a safetensors header.</summary>
    internal static bool TryParse(string name, out WeightDType dtype)
    {
        foreach (var entry in Table)
        {
            if (entry.Name == name)
            {
                dtype = entry.DType;
                return true;
            }
        }

        dtype = default;
        return false;
    }

    private static (WeightDType DType, string Name, int Size) Entry(WeightDType dtype)
    {
        foreach (var entry in Table)
        {
            if (entry.DType == dtype)
            {
                return entry;
            }
        }

        throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "This is not a weight dtype.");
    }
}
