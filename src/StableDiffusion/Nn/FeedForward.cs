using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>Gated GELU, <c>value * gelu(gate)</c> with the erf form of GELU (Shazeer 2020, arXiv 2002.05202): one matrix product.</summary>
public sealed class GEGLU : Layer
{
    private readonly PackedWeight proj;

    /// <summary>Declares it.</summary>
    public GEGLU(LayerBuilder builder, long inputs, long outputs) : base(builder) => proj = builder.Geglu(inputs, outputs, builder.Scope["proj"]);

    /// <summary><c>[...,inputs]</c> to <c>[...,outputs]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        return exec.Linear(x, proj.Value, activation: Activation.Geglu);
    }
}

/// <summary>The feed-forward part of a transformer block: a GEGLU to four times the channels, and a linear layer back.</summary>
public sealed class FeedForward : Layer
{
    private const int Expansion = 4;
    private readonly GEGLU net_0;
    private readonly Linear net_2;

    /// <summary>Declares it for that many channels, in and out.</summary>
    public FeedForward(LayerBuilder builder, long channels) : base(builder)
    {
        net_0 = new GEGLU(builder["net.0"], channels, Expansion * channels);
        net_2 = new Linear(builder["net.2"], Expansion * channels, channels);
    }

    /// <summary><c>[...,C]</c> to <c>[...,C]</c>, plus <paramref name="residual"/>, where given.</summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor residual = default)
    {
        using TraceScope trace = Trace(exec);
        Tensor hidden = net_0.Forward(exec, x);
        Tensor output = net_2.Forward(exec, hidden, residual: residual);
        hidden.Dispose();
        return output;
    }
}
