using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>
/// What cross-attention looks at: the tokens of a prompt, or the keys and values that each layer made of them before. They do not change
/// from step to step, so a sampling loop has them made once.
/// </summary>
public readonly struct AttentionContext
{
    private readonly IReadOnlyDictionary<CrossAttention, Tensor>? _keysValues;

    /// <summary>Tokens <c>[B,T,C]</c>; each layer makes its keys and values anew.</summary>
    public AttentionContext(Tensor tokens) => Tokens = tokens;

    /// <summary>Keys and values of every layer that will ask, each as <see cref="CrossAttention.KeysValues"/> gave them.</summary>
    public AttentionContext(IReadOnlyDictionary<CrossAttention, Tensor> keysValues) => _keysValues = keysValues;

    /// <summary>The tokens; none when keys and values were made before.</summary>
    public Tensor Tokens { get; }

    internal bool TryGetKeysValues(CrossAttention layer, out Tensor keysValues)
    {
        keysValues = default;
        return _keysValues is not null && _keysValues.TryGetValue(layer, out keysValues);
    }
}

/// <summary>
/// Multi-head attention of tokens to a context (Vaswani et al. 2017, arXiv 1706.03762). Key and value are one matrix product, read in
/// place by the attention.
/// </summary>
public sealed class CrossAttention : Layer
{
    private readonly Linear to_q;
    private readonly PackedWeight to_kv;
    private readonly Linear to_out_0;
    private readonly long _inner;
    private readonly int _heads;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="channels">Channels in and out.</param>
    /// <param name="contextChannels">Channels of the context.</param>
    /// <param name="inner">Channels of query, key and value each: heads times head size.</param>
    /// <param name="heads">Number of heads.</param>
    public CrossAttention(LayerBuilder builder, long channels, long contextChannels, long inner, int heads) : base(builder)
    {
        to_q = new Linear(builder["to_q"], channels, inner, bias: false);
        to_kv = builder.Stacked(contextChannels, inner, bias: false, pointwiseConvolution: false, builder.Scope["to_k"], builder.Scope["to_v"]);
        to_out_0 = new Linear(builder["to_out.0"], inner, channels);
        (_inner, _heads) = (inner, heads);
    }

    /// <summary>Keys and values of a context <c>[B,T,contextChannels]</c>, as <c>[B,T,2*inner]</c>.</summary>
    public Tensor KeysValues(Exec exec, Tensor tokens)
    {
        using TraceScope trace = Trace(exec);
        return exec.Linear(tokens, to_kv.Value);
    }

    /// <summary>
    /// <c>[S,T,C]</c> to <c>[B,T,C]</c>, plus <paramref name="residual"/> <c>[S,T,C]</c>, where given. B is the context's batch and a multiple of S:
    /// entry i of the context is looked at by entry i mod S, so what the parts of a guided batch have in common is computed once, up to here.
    /// </summary>
    public Tensor Forward(Exec exec, Tensor x, AttentionContext context, Tensor residual = default)
    {
        using TraceScope trace = Trace(exec);
        Tensor shared = to_q.Forward(exec, x); // [S,T,inner]
        bool madeBefore = context.TryGetKeysValues(this, out Tensor keysValues);
        if (!madeBefore)
        {
            keysValues = exec.Linear(context.Tokens, to_kv.Value); // [B,Tc,2*inner]
        }
        Tensor query = exec.Repeated(shared, keysValues[0]); // [B,T,inner]
        Tensor attended = exec.Attention(query, keysValues.Slice(-1, 0, _inner), keysValues.Slice(-1, _inner, _inner), _heads, operands: to_kv.Value.Storage);
        query.Dispose();
        shared.Dispose();
        if (!madeBefore)
        {
            keysValues.Dispose();
        }
        using Tensor added = exec.Repeated(residual, attended[0]);
        Tensor output = to_out_0.Forward(exec, attended, residual: added);
        attended.Dispose();
        return output;
    }
}
