using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace StableDiffusion.Tests.Weights;

/// <summary>Builds safetensors files byte by byte, right ones and wrong ones.</summary>
internal static class SafetensorsBytes
{
    /// <summary>A file with a given header text and as many data bytes (0, 1, 2, ...) as asked.</summary>
    public static byte[] File(string header, int dataBytes = 0) => File(Encoding.UTF8.GetBytes(header), dataBytes);

    public static byte[] File(byte[] header, int dataBytes = 0)
        => WithPrefix((ulong)header.Length, [.. header, .. Enumerable.Range(0, dataBytes).Select(i => (byte)i)]);

    /// <summary>A header length of its own choice, and whatever follows it.</summary>
    public static byte[] WithPrefix(ulong headerBytes, byte[] rest)
    {
        byte[] prefix = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(prefix, headerBytes);
        return [.. prefix, .. rest];
    }

    /// <summary>A correct file of float32 tensors.</summary>
    public static byte[] Floats(params (string Name, long[] Shape, float[] Values)[] tensors)
    {
        List<string> entries = [];
        List<byte> data = [];
        foreach ((string name, long[] shape, float[] values) in tensors)
        {
            int begin = data.Count;
            data.AddRange(MemoryMarshal.AsBytes(values.AsSpan()));
            entries.Add(Entry(name, "F32", string.Join(",", shape), $"{begin},{data.Count}"));
        }

        byte[] header = Encoding.UTF8.GetBytes("{" + string.Join(",", entries) + "}");
        return WithPrefix((ulong)header.Length, [.. header, .. data]);
    }

    /// <summary>One entry of a header, from JSON text.</summary>
    public static string Entry(string name, string dtype, string shape, string offsets)
        => $"\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{offsets}]}}";
}
