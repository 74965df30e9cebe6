using System.Runtime.InteropServices;
using StableDiffusion.Native;

namespace StableDiffusion.Tests.Bindings;

/// <summary>Small weights and tensors from numbers written in a test.</summary>
static class HostValues
{
    /// <summary>A float32 tensor in host memory.</summary>
    public static HostView View(long[] shape, params ReadOnlySpan<float> values) =>
        new(MemoryMarshal.AsBytes(values).ToArray(), DType.Float32, shape);

    /// <summary>A weight of one part, with its bias when there is one.</summary>
    public static Weight Weight(Device device, WeightKind kind, HostView part, params float[] bias) =>
        StableDiffusion.Native.Weight.Create(device, kind, DType.Float32, [part], bias.Length == 0 ? [] : [View([bias.Length], bias)]);

    /// <summary>A float32 tensor in the arena.</summary>
    public static Tensor Floats(this Exec exec, long[] shape, params ReadOnlySpan<float> values) => exec.Upload(values, DType.Float32, shape);

    /// <summary>The elements of a tensor of any strides and dtype, as float32.</summary>
    public static float[] Values(this Exec exec, Tensor tensor)
    {
        using Tensor dense = exec.Contiguous(tensor, DType.Float32);
        var values = new float[dense.Count];
        exec.Read(dense, values.AsSpan());
        return values;
    }
}
