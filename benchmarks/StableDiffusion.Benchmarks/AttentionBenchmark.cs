using BenchmarkDotNet.Attributes;
using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Benchmarks;

/// <summary>Self-attention, and cross-attention to a prompt of 77 tokens whose keys and values are made anew or were made before.</summary>
public class AttentionBenchmark : LayerBenchmark
{
    SelfAttention self = null!;
    CrossAttention cross = null!;
    Tensor x, context, keysValues;

    /// <summary>Where in the UNet.</summary>
    [ParamsAllValues]
    public UnetLevel Level { get; set; }

    /// <summary>To the pixels themselves.</summary>
    [Benchmark(Baseline = true)]
    public void SelfAttention() => Queued(self.Forward(Exec, x));

    /// <summary>To the prompt.</summary>
    [Benchmark]
    public void CrossAttention() => Queued(cross.Forward(Exec, x, new AttentionContext(context)));

    /// <summary>To the prompt, with its keys and values, as in every step of a generation.</summary>
    [Benchmark]
    public void CrossAttentionKeysValuesKept() =>
        Queued(cross.Forward(Exec, x, new AttentionContext(new Dictionary<CrossAttention, Tensor> { [cross] = keysValues })));

    /// <inheritdoc />
    protected override IReadOnlyList<Action> TimedCalls => [SelfAttention, CrossAttention, CrossAttentionKeysValuesKept];

    /// <inheritdoc />
    protected override void Prepare()
    {
        int channels = Level.Channels();
        self = Build(builder => new SelfAttention(builder, channels, channels, Unet.Heads));
        cross = Build(builder => new CrossAttention(builder, channels, Unet.ContextChannels, channels, Unet.Heads));
        x = Input(Unet.Batch, Level.Size() * Level.Size(), channels);
        context = Input(Unet.Batch, Unet.ContextTokens, Unet.ContextChannels);
        keysValues = Input(Unet.Batch, Unet.ContextTokens, 2 * channels);
    }
}
