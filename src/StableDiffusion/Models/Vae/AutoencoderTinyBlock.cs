using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Vae;

/// <summary>The block of an <see cref="AutoencoderTiny"/>: three convolutions with ReLU, the input added before the last.</summary>
public sealed class AutoencoderTinyBlock : Layer
{
    private readonly Conv2d[] conv;

    /// <summary>Declares it for that many channels, in and out.</summary>
    public AutoencoderTinyBlock(LayerBuilder builder, int channels) : base(builder) =>
        conv = [.. new[] { 0, 2, 4 }.Select(i => new Conv2d(builder["conv"][i], channels, channels))]; // 1 and 3 are the activations

    /// <summary><c>[B,H,W,C]</c> to <c>[B,H,W,C]</c>. Takes x over.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        Tensor first = conv[0].Forward(exec, x);
        exec.Activate(first, first, Activation.Relu);
        Tensor second = conv[1].Forward(exec, first);
        first.Dispose();
        exec.Activate(second, second, Activation.Relu);
        Tensor output = conv[2].Forward(exec, second, residual: x);
        second.Dispose();
        x.Dispose();
        exec.Activate(output, output, Activation.Relu);
        return output;
    }
}
