using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>
/// What residual blocks add for the timestep: its embedding, which each block projects, or the projections that each block made of it before. They do not
/// depend on the latents, so a sampling loop has them made once for all steps.
/// </summary>
public readonly struct TimeContext
{
    private readonly IReadOnlyDictionary<ResnetBlock2D, Tensor>? _projections;

    /// <summary>
    /// SiLU of the time embedding <c>[N,T]</c>; each block projects it anew. (diffusers hands over the time embedding and applies the SiLU in each block; here
    /// it is applied once for all.)
    /// </summary>
    public TimeContext(Tensor embedding) => (Embedding, Entries) = (embedding, embedding[0]);

    /// <summary>Projections <c>[N,O]</c> of every block that will ask, each as <see cref="ResnetBlock2D.ProjectTime"/> gave them.</summary>
    public TimeContext(IReadOnlyDictionary<ResnetBlock2D, Tensor> projections, long entries) => (_projections, Entries) = (projections, entries);

    /// <summary>The embedding; none when the projections were made before.</summary>
    public Tensor Embedding { get; }

    /// <summary>N: entries that may have different timesteps or conditions. A larger batch repeats them.</summary>
    public long Entries { get; }

    internal bool TryGetProjection(ResnetBlock2D block, out Tensor projection)
    {
        projection = default;
        return _projections is not null && _projections.TryGetValue(block, out projection);
    }
}

/// <summary>
/// The residual block of diffusers' UNets and autoencoders: norm, SiLU, convolution, plus the time embedding, then the same again, plus
/// the input. The input may come in two parts, the running features and a skip connection, which are never joined in memory.
/// </summary>
public sealed class ResnetBlock2D : Layer
{
    private readonly GroupNorm norm1;
    private readonly Conv2d conv1;
    private readonly Linear? time_emb_proj;
    private readonly GroupNorm norm2;
    private readonly Conv2d conv2;
    private readonly Linear? conv_shortcut;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="inputs">Channels in, of both parts together.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="embeddingChannels">Channels of the time embedding, or null for a block without one.</param>
    /// <param name="groups">Groups of the norms.</param>
    /// <param name="eps">Epsilon of the norms.</param>
    public ResnetBlock2D(LayerBuilder builder, long inputs, long outputs, long? embeddingChannels, int groups, float eps) : base(builder)
    {
        norm1 = new GroupNorm(builder["norm1"], inputs, groups, eps);
        conv1 = new Conv2d(builder["conv1"], inputs, outputs);
        TimeChannels = embeddingChannels is null ? 0 : outputs;
        time_emb_proj = embeddingChannels is { } channels ? new Linear(builder["time_emb_proj"], channels, outputs) : null;
        norm2 = new GroupNorm(builder["norm2"], outputs, groups, eps);
        conv2 = new Conv2d(builder["conv2"], outputs, outputs);
        conv_shortcut = inputs == outputs ? null : new Linear(builder["conv_shortcut"], inputs, outputs, pointwiseConvolution: true);
    }

    /// <summary>Channels that it adds for the timestep: its outputs, or 0 for a block without.</summary>
    public long TimeChannels { get; }

    /// <summary>What it adds for SiLU of time embeddings <c>[N,embeddingChannels]</c>: <c>[N,TimeChannels]</c>.</summary>
    /// <exception cref="InvalidOperationException">It is a block without.</exception>
    public Tensor ProjectTime(Exec exec, Tensor embedding)
    {
        using TraceScope trace = Trace(exec);
        return (time_emb_proj ?? throw new InvalidOperationException($"'{Path}' takes no timestep.")).Forward(exec, embedding);
    }

    /// <summary><c>[B,H,W,C1]</c> and perhaps <c>[B,H,W,C2]</c> to <c>[B,H,W,outputs]</c>.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="x">The running features.</param>
    /// <param name="time">The timestep, of B entries or of fewer that divide B; none for a block without.</param>
    /// <param name="skip">The skip connection, where there is one.</param>
    public Tensor Forward(Exec exec, Tensor x, TimeContext time = default, Tensor skip = default)
    {
        using TraceScope trace = Trace(exec);
        Tensor normed = norm1.Forward(exec, x, skip, Activation.Silu); // [B,H,W,C1+C2]
        bool madeBefore = time.TryGetProjection(this, out Tensor projected);
        if (!madeBefore && time_emb_proj is not null)
        {
            projected = time_emb_proj.Forward(exec, time.Embedding); // [N,O]
        }
        Tensor each = exec.Repeated(projected, x[0]); // [B,O]
        Tensor hidden = conv1.Forward(exec, normed, channelAdd: each); // [B,H,W,O]
        normed.Dispose();
        each.Dispose();
        if (!madeBefore)
        {
            projected.Dispose();
        }

        normed = norm2.Forward(exec, hidden, activation: Activation.Silu);
        hidden.Dispose();
        Tensor shortcut = Shortcut(exec, x, skip);
        Tensor output = conv2.Forward(exec, normed, residual: shortcut.IsNone ? x : shortcut);
        normed.Dispose();
        shortcut.Dispose();
        return output;
    }

    /// <summary>What is added at the end, as a new tensor; none where that is x itself.</summary>
    private Tensor Shortcut(Exec exec, Tensor x, Tensor skip)
    {
        if (conv_shortcut is not null)
        {
            return conv_shortcut.Forward(exec, x, skip);
        }
        if (skip.IsNone)
        {
            return default;
        }
        // As many channels out as in both parts together: here the sum needs them in one piece.
        Tensor joined = exec.Alloc(x.DType, x[0], x[1], x[2], x[3] + skip[3]);
        exec.Copy(joined.Slice(3, 0, x[3]), x);
        exec.Copy(joined.Slice(3, x[3], skip[3]), skip);
        return joined;
    }
}
