using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>Halves an image by a convolution of stride 2.</summary>
public sealed class Downsample2D : Layer
{
    private readonly Conv2d conv;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="channels">Channels in and out.</param>
    /// <param name="padding">Zeros on all sides; 0 means one row below and one column at the right, as the autoencoder's encoder has it.</param>
    public Downsample2D(LayerBuilder builder, long channels, int padding) : base(builder) =>
        conv = new Conv2d(builder["conv"], channels, channels, stride: 2, padding: padding == 0 ? new Padding(0, 0, 1, 1) : Padding.All(padding));

    /// <summary><c>[B,H,W,C]</c> to <c>[B,Ho,Wo,C]</c>; an odd side is rounded up with padding 1, down with padding 0.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        return conv.Forward(exec, x);
    }
}

/// <summary>Enlarges an image by nearest neighbour, then convolves it, in one op.</summary>
public sealed class Upsample2D : Layer
{
    private readonly Conv2d conv;

    /// <summary>Declares it for that many channels, in and out.</summary>
    public Upsample2D(LayerBuilder builder, long channels) : base(builder) => conv = new Conv2d(builder["conv"], channels, channels, doubles: true);

    /// <summary>
    /// <c>[B,H,W,C]</c> to <c>[B,Ho,Wo,C]</c>: twice the size, or that of <paramref name="size"/> where given (in a UNet that of the next skip
    /// connection, whose side is odd where halving rounded it).
    /// </summary>
    public Tensor Forward(Exec exec, Tensor x, (int Height, int Width) size = default)
    {
        using TraceScope trace = Trace(exec);
        return conv.Forward(exec, x, upsampleTo: size == default ? (checked((int)x[1] * 2), checked((int)x[2] * 2)) : size);
    }
}
