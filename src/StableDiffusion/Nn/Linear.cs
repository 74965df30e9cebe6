using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>
/// A linear layer over the last dimension, <c>x W^T + b</c>. A 1x1 convolution is the same on NHWC images and differs only in how the
/// file shapes its weight.
/// </summary>
public sealed class Linear : Layer
{
    private readonly PackedWeight _weight;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="inputs">Channels in, of both inputs together.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="bias">Whether it has a bias.</param>
    /// <param name="pointwiseConvolution">Whether the file has it as a 1x1 convolution <c>[outputs, inputs, 1, 1]</c>.</param>
    public Linear(LayerBuilder builder, long inputs, long outputs, bool bias = true, bool pointwiseConvolution = false) : base(builder) =>
        _weight = builder.Matrix(inputs, outputs, bias, pointwiseConvolution);

    /// <summary><c>activation([x | x2] W^T + b) + residual</c>: <c>[...,inputs]</c> to <c>[...,outputs]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor x2 = default, Tensor residual = default, Activation activation = Activation.None)
    {
        using TraceScope trace = Trace(exec);
        return exec.Linear(x, _weight.Value, x2, residual, activation);
    }
}
