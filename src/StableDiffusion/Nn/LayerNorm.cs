using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>Layer normalisation over the last dimension (Ba et al. 2016, arXiv 1607.06450), with scale and shift.</summary>
public sealed class LayerNorm : Layer
{
    private readonly PackedWeight _weight;
    private readonly float _eps;

    /// <summary>Declares it for that many channels.</summary>
    public LayerNorm(LayerBuilder builder, long channels, float eps = 1e-5f) : base(builder) =>
        (_weight, _eps) = (builder.Norm(channels), eps);

    /// <summary>The norm of each row of <c>[...,C]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        return exec.LayerNorm(x, _weight.Value, _eps);
    }
}
