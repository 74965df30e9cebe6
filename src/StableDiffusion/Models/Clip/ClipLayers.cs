using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Clip;

/// <summary>Token vectors plus position vectors.</summary>
public sealed class ClipEmbeddings : Layer
{
    private readonly Embedding token_embedding;
    private readonly Embedding position_embedding;

    /// <summary>Declares it.</summary>
    public ClipEmbeddings(LayerBuilder builder, ClipTextConfig config) : base(builder)
    {
        token_embedding = new Embedding(builder["token_embedding"], config.VocabSize, config.HiddenSize);
        position_embedding = new Embedding(builder["position_embedding"], config.MaxPositionEmbeddings, config.HiddenSize);
    }

    /// <summary>Int32 ids <c>[B,T]</c> to <c>[B,T,C]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor ids)
    {
        using TraceScope trace = Trace(exec);
        return token_embedding.Forward(exec, ids, position_embedding);
    }
}

/// <summary>Causal self-attention: a token sees itself and those before it. Query, key and value are one matrix product.</summary>
public sealed class ClipAttention : Layer
{
    private readonly PackedWeight qkv_proj;
    private readonly Linear out_proj;
    private readonly int _heads;

    /// <summary>Declares it.</summary>
    public ClipAttention(LayerBuilder builder, ClipTextConfig config) : base(builder)
    {
        qkv_proj = builder.Stacked(config.HiddenSize, config.HiddenSize, bias: true, pointwiseConvolution: false,
            builder.Scope["q_proj"], builder.Scope["k_proj"], builder.Scope["v_proj"]);
        out_proj = new Linear(builder["out_proj"], config.HiddenSize, config.HiddenSize);
        _heads = config.NumAttentionHeads;
    }

    /// <summary><c>[B,T,C]</c> to <c>[B,T,C]</c>, plus <paramref name="residual"/>, where given.</summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor residual = default)
    {
        using TraceScope trace = Trace(exec);
        long channels = x[-1];
        Tensor qkv = exec.Linear(x, qkv_proj.Value); // [B,T,3C]
        Tensor attended = exec.Attention(
            qkv.Slice(-1, 0, channels), qkv.Slice(-1, channels, channels), qkv.Slice(-1, 2 * channels, channels), _heads, causal: true);
        qkv.Dispose();
        Tensor output = out_proj.Forward(exec, attended, residual: residual);
        attended.Dispose();
        return output;
    }
}

/// <summary>Two linear layers with a GELU between them.</summary>
public sealed class ClipMlp : Layer
{
    private readonly Linear fc1;
    private readonly Linear fc2;
    private readonly Activation _activation;

    /// <summary>Declares it.</summary>
    public ClipMlp(LayerBuilder builder, ClipTextConfig config) : base(builder)
    {
        fc1 = new Linear(builder["fc1"], config.HiddenSize, config.IntermediateSize);
        fc2 = new Linear(builder["fc2"], config.IntermediateSize, config.HiddenSize);
        _activation = config.HiddenAct;
    }

    /// <summary><c>[B,T,C]</c> to <c>[B,T,C]</c>, plus <paramref name="residual"/>, where given.</summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor residual = default)
    {
        using TraceScope trace = Trace(exec);
        Tensor hidden = fc1.Forward(exec, x, activation: _activation); // [B,T,intermediate]
        Tensor output = fc2.Forward(exec, hidden, residual: residual);
        hidden.Dispose();
        return output;
    }
}

/// <summary>One layer of the encoder: attention and MLP, each with a norm before it and a sum after it.</summary>
public sealed class ClipLayer : Layer
{
    private readonly LayerNorm layer_norm1;
    private readonly ClipAttention self_attn;
    private readonly LayerNorm layer_norm2;
    private readonly ClipMlp mlp;

    /// <summary>Declares it.</summary>
    public ClipLayer(LayerBuilder builder, ClipTextConfig config) : base(builder)
    {
        layer_norm1 = new LayerNorm(builder["layer_norm1"], config.HiddenSize, config.LayerNormEps);
        self_attn = new ClipAttention(builder["self_attn"], config);
        layer_norm2 = new LayerNorm(builder["layer_norm2"], config.HiddenSize, config.LayerNormEps);
        mlp = new ClipMlp(builder["mlp"], config);
    }

    /// <summary><c>[B,T,C]</c> to <c>[B,T,C]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        Tensor normed = layer_norm1.Forward(exec, x);
        Tensor attended = self_attn.Forward(exec, normed, residual: x);
        normed.Dispose();
        normed = layer_norm2.Forward(exec, attended);
        Tensor output = mlp.Forward(exec, normed, residual: attended);
        normed.Dispose();
        attended.Dispose();
        return output;
    }
}
