using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>A transformer block: self-attention, cross-attention, feed-forward, each with a norm before it and a sum after it.</summary>
public sealed class BasicTransformerBlock : Layer
{
    private readonly LayerNorm norm1;
    private readonly SelfAttention attn1;
    private readonly LayerNorm norm2;
    private readonly CrossAttention attn2;
    private readonly LayerNorm norm3;
    private readonly FeedForward ff;

    /// <summary>Declares it for that many channels, in and out.</summary>
    public BasicTransformerBlock(LayerBuilder builder, long channels, int heads, long contextChannels) : base(builder)
    {
        norm1 = new LayerNorm(builder["norm1"], channels);
        attn1 = new SelfAttention(builder["attn1"], channels, channels, heads);
        norm2 = new LayerNorm(builder["norm2"], channels);
        attn2 = new CrossAttention(builder["attn2"], channels, contextChannels, channels, heads);
        norm3 = new LayerNorm(builder["norm3"], channels);
        ff = new FeedForward(builder["ff"], channels);
    }

    /// <summary>Its cross-attention, whose keys and values can be made ahead.</summary>
    public CrossAttention CrossAttention => attn2;

    /// <summary><c>[S,T,C]</c> to <c>[B,T,C]</c>; B is the context's batch, a multiple of S.</summary>
    public Tensor Forward(Exec exec, Tensor x, AttentionContext context)
    {
        using TraceScope trace = Trace(exec);
        Tensor normed = norm1.Forward(exec, x);
        Tensor attended = attn1.Forward(exec, normed, residual: x);
        normed.Dispose();

        normed = norm2.Forward(exec, attended);
        Tensor crossed = attn2.Forward(exec, normed, context, residual: attended);
        normed.Dispose();
        attended.Dispose();

        normed = norm3.Forward(exec, crossed);
        Tensor output = ff.Forward(exec, normed, residual: crossed);
        normed.Dispose();
        crossed.Dispose();
        return output;
    }
}

/// <summary>
/// The transformer over the pixels of an image: norm, projection in, transformer blocks, projection out, plus the input. SD 1.x has the
/// projections as 1x1 convolutions, later models as linear layers; over NHWC that is the same.
/// </summary>
public sealed class Transformer2DModel : Layer
{
    /// <summary>Epsilon of the group norm, which no config names.</summary>
    private const float NormEps = 1e-6f;

    private readonly GroupNorm norm;
    private readonly Linear proj_in;
    private readonly BasicTransformerBlock[] transformer_blocks;
    private readonly Linear proj_out;
    private readonly long _inner;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="channels">Channels in and out.</param>
    /// <param name="heads">Attention heads.</param>
    /// <param name="depth">Number of transformer blocks.</param>
    /// <param name="contextChannels">Channels of the context that cross-attention looks at.</param>
    /// <param name="groups">Groups of the norm.</param>
    /// <param name="linearProjection">Whether the projections are stored as linear layers, not as 1x1 convolutions.</param>
    public Transformer2DModel(LayerBuilder builder, long channels, int heads, int depth, long contextChannels, int groups, bool linearProjection)
        : base(builder)
    {
        _inner = channels / heads * heads;
        norm = new GroupNorm(builder["norm"], channels, groups, NormEps);
        proj_in = new Linear(builder["proj_in"], channels, _inner, pointwiseConvolution: !linearProjection);
        transformer_blocks = new BasicTransformerBlock[depth];
        for (int i = 0; i < depth; i++)
        {
            transformer_blocks[i] = new BasicTransformerBlock(builder["transformer_blocks"][i], _inner, heads, contextChannels);
        }
        proj_out = new Linear(builder["proj_out"], _inner, channels, pointwiseConvolution: !linearProjection);
    }

    /// <summary>Its transformer blocks.</summary>
    public IReadOnlyList<BasicTransformerBlock> TransformerBlocks => transformer_blocks;

    /// <summary><c>[S,H,W,C]</c> to <c>[B,H,W,C]</c>; B is the context's batch, a multiple of S.</summary>
    public Tensor Forward(Exec exec, Tensor x, AttentionContext context)
    {
        using TraceScope trace = Trace(exec);
        long height = x[1], width = x[2];
        Tensor normed = norm.Forward(exec, x);
        Tensor hidden = proj_in.Forward(exec, normed.View(x[0], height * width, x[3])); // [S,H*W,inner]
        normed.Dispose();
        foreach (BasicTransformerBlock block in transformer_blocks)
        {
            Tensor next = block.Forward(exec, hidden, context);
            hidden.Dispose();
            hidden = next;
        }
        using Tensor added = exec.Repeated(x, hidden[0]);
        Tensor output = proj_out.Forward(exec, hidden.View(hidden[0], height, width, _inner), residual: added); // [B,H,W,C]
        hidden.Dispose();
        return output;
    }
}
