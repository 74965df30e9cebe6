using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using StableDiffusion.Pipelines;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Generate;

/// <summary>Latents in a safetensors file, as the tensor "latents" [N,4,H/8,W/8].</summary>
internal static class LatentsFile
{
    private const string Name = "latents";

    /// <summary>Reads latents for so many pictures; floating-point of any width is taken.</summary>
    /// <exception cref="InvalidWeightsException">No such file, or a damaged one.</exception>
    /// <exception cref="CliException">It holds something else.</exception>
    internal static FloatTensor Read(string path, int images)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        WeightInfo info = file.Find(Name) ?? throw CliException.File($"--latents: '{path}' has no tensor '{Name}'; it has {string.Join(", ", file.Names.Take(5))}");
        if (info.Shape.Length != 4 || info.Shape[0] != images || !info.DType.IsLayerWeight() || info.ElementCount == 0)
        {
            throw CliException.Usage($"--latents: '{path}' has {info}, but {images} picture(s) take floating-point [{images}, 4, height/8, width/8]");
        }
        using var tensor = new HostTensor(Name, info);
        file.Read(Name, tensor.Bytes);
        return new FloatTensor(tensor.ToArray(), [.. info.Shape.Select(side => checked((int)side))]);
    }

    /// <summary>Writes float32 latents.</summary>
    /// <exception cref="CliException">It cannot be written.</exception>
    internal static void Write(string path, FloatTensor latents)
    {
        string shape = string.Join(",", latents.Shape);
        string header = $$$"""{"{{{Name}}}":{"dtype":"F32","shape":[{{{shape}}}],"data_offsets":[0,{{{4L * latents.Values.Length}}}]}}""";
        // Spaces keep the data aligned to 8 bytes, as the format asks.
        byte[] json = Encoding.UTF8.GetBytes(header.PadRight((header.Length + 7) / 8 * 8));
        AtomicFile.Write(path, stream =>
        {
            Span<byte> length = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(length, json.Length);
            stream.Write(length);
            stream.Write(json);
            stream.Write(MemoryMarshal.AsBytes(latents.Values.AsSpan()));
        });
    }
}
