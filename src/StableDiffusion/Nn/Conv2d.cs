using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>A convolution with a square kernel over NHWC images.</summary>
public sealed class Conv2d : Layer
{
    private readonly PackedWeight _weight;
    private readonly Padding _padding;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="kernel">Side of the kernel, in pixels.</param>
    /// <param name="stride">1 or 2.</param>
    /// <param name="padding">Zeros around the image; by default as many as keep its size at stride 1.</param>
    /// <param name="doubles">Whether it will see images doubled by nearest neighbour; a device may prepare for that.</param>
    /// <param name="bias">Whether it has a bias.</param>
    public Conv2d(LayerBuilder builder, long inputs, long outputs, int kernel = 3, int stride = 1, Padding? padding = null, bool doubles = false, bool bias = true)
        : base(builder)
    {
        _weight = builder.Convolution(inputs, outputs, kernel, doubles, bias);
        (InChannels, Kernel, Stride, _padding) = (inputs, kernel, stride, padding ?? Padding.All((kernel - 1) / 2));
    }

    /// <summary>Channels in.</summary>
    internal long InChannels { get; }

    /// <summary>Side of the kernel, in pixels.</summary>
    internal int Kernel { get; }

    /// <summary>1 or 2.</summary>
    internal int Stride { get; }

    /// <summary>
    /// <c>conv(x) + channelAdd + residual</c>: <c>[B,H,W,inputs]</c> to <c>[B,Ho,Wo,outputs]</c>; channelAdd is <c>[B,outputs]</c>. With
    /// <paramref name="upsampleTo"/> x is resized to that height and width first, by nearest neighbour.
    /// </summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor channelAdd = default, Tensor residual = default, (int Height, int Width) upsampleTo = default)
    {
        using TraceScope trace = Trace(exec);
        return exec.Conv2d(x, _weight.Value, (Kernel, Kernel), _padding, Stride, channelAdd, residual, upsampleTo);
    }
}
