using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>
/// Multi-head attention of tokens to themselves (Vaswani et al. 2017, arXiv 1706.03762). Query, key and value are one matrix product,
/// read in place by the attention.
/// </summary>
public sealed class SelfAttention : Layer
{
    private readonly PackedWeight to_qkv;
    private readonly Linear to_out_0;
    private readonly long _inner;
    private readonly int _heads;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="channels">Channels in and out.</param>
    /// <param name="inner">Channels of query, key and value each: heads times head size.</param>
    /// <param name="heads">Number of heads.</param>
    public SelfAttention(LayerBuilder builder, long channels, long inner, int heads) : base(builder)
    {
        to_qkv = builder.Stacked(channels, inner, bias: false, pointwiseConvolution: false,
            builder.Scope["to_q"], builder.Scope["to_k"], builder.Scope["to_v"]);
        to_out_0 = new Linear(builder["to_out.0"], inner, channels);
        (_inner, _heads) = (inner, heads);
    }

    /// <summary><c>[B,T,C]</c> to <c>[B,T,C]</c>, plus <paramref name="residual"/>, where given.</summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor residual = default)
    {
        using TraceScope trace = Trace(exec);
        Tensor qkv = exec.Linear(x, to_qkv.Value); // [B,T,3*inner]
        Tensor attended = exec.Attention(qkv.Slice(-1, 0, _inner), qkv.Slice(-1, _inner, _inner), qkv.Slice(-1, 2 * _inner, _inner), _heads, operands: to_qkv.Value.Storage);
        qkv.Dispose();
        Tensor output = to_out_0.Forward(exec, attended, residual: residual);
        attended.Dispose();
        return output;
    }
}
