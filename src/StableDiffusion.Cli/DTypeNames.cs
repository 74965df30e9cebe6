using StableDiffusion.Native;

namespace StableDiffusion.Cli;

/// <summary>What --dtype was given; null lets the device choose.</summary>
internal sealed record DTypeChoice(DType? DType);

/// <summary>The storage types of weights, as the command line names them.</summary>
internal static class DTypeNames
{
    internal const string Complaint = "is not a dtype; there are auto, fp32, fp16, bf16 and int8", FileComplaint = "is not a dtype of files; there are auto, fp32, fp16 and bf16";

    /// <summary>"auto" is valid: the device chooses.</summary>
    internal static bool TryParse(string text, out DTypeChoice? choice)
    {
        choice = new DTypeChoice(DType.Int8);
        return text.Equals("int8", StringComparison.OrdinalIgnoreCase) || TryParseFile(text, out choice);
    }

    /// <summary>Without int8, which no file has.</summary>
    internal static bool TryParseFile(string text, out DTypeChoice? choice)
    {
        DType? dtype = text.ToLowerInvariant() switch
        {
            "fp32" or "float32" => DType.Float32,
            "fp16" or "float16" => DType.Float16,
            "bf16" or "bfloat16" => DType.BFloat16,
            _ => null,
        };
        choice = new DTypeChoice(dtype);
        return dtype is not null || text.Equals("auto", StringComparison.OrdinalIgnoreCase);
    }

    internal static string Name(DType dtype) => dtype switch
    {
        DType.Float32 => "fp32",
        DType.Float16 => "fp16",
        DType.BFloat16 => "bf16",
        DType.Int8 => "int8",
        _ => dtype.ToString(),
    };
}
