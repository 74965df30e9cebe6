using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Nn;

/// <summary>
/// The attention block of diffusers' autoencoders: group norm, one head of self-attention over all pixels, plus the input. Older files
/// call its matrices <c>query</c>, <c>key</c>, <c>value</c> and <c>proj_attn</c>, and some have them as 1x1 convolutions.
/// </summary>
public sealed class SpatialAttention : Layer
{
    private readonly GroupNorm group_norm;
    private readonly PackedWeight to_qkv;
    private readonly Linear to_out_0;

    /// <summary>Declares it for that many channels, in and out.</summary>
    public SpatialAttention(LayerBuilder builder, long channels, int groups, float eps) : base(builder)
    {
        group_norm = new GroupNorm(builder["group_norm"], channels, groups, eps);
        WeightScope scope = builder.Scope;
        WeightScope query = scope.FirstOf("to_q", "query"), key = scope.FirstOf("to_k", "key"), value = scope.FirstOf("to_v", "value");
        WeightScope output = scope.FirstOf("to_out.0", "proj_attn");
        to_qkv = builder.Stacked(channels, channels, bias: true, IsConvolution(query, channels), query, key, value);
        to_out_0 = new Linear(builder.At("to_out.0", output), channels, channels, pointwiseConvolution: IsConvolution(output, channels));
    }

    /// <summary><c>[B,H,W,C]</c> to <c>[B,H,W,C]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        long batch = x[0], height = x[1], width = x[2], channels = x[3];
        Tensor normed = group_norm.Forward(exec, x);
        Tensor qkv = exec.Linear(normed.View(batch, height * width, channels), to_qkv.Value); // [B,H*W,3C]
        normed.Dispose();
        Tensor attended = exec.Attention(qkv.Slice(-1, 0, channels), qkv.Slice(-1, channels, channels), qkv.Slice(-1, 2 * channels, channels), heads: 1,
            operands: to_qkv.Value.Storage);
        qkv.Dispose();
        Tensor output = to_out_0.Forward(exec, attended.View(batch, height, width, channels), residual: x);
        attended.Dispose();
        return output;
    }

    private static bool IsConvolution(WeightScope scope, long channels) => scope.Find("weight", channels, channels)?.Shape.Length == 4;
}
