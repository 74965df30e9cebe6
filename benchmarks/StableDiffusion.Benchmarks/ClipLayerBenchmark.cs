using BenchmarkDotNet.Attributes;
using StableDiffusion.Models.Clip;
using StableDiffusion.Native;

namespace StableDiffusion.Benchmarks;

/// <summary>A layer of the text encoder of Stable Diffusion 1.5 (CLIP ViT-L/14), for a prompt and a negative prompt.</summary>
public class ClipLayerBenchmark : LayerBenchmark
{
    static readonly ClipTextConfig Config = new() { HiddenSize = 768, IntermediateSize = 3072, NumAttentionHeads = 12 };

    ClipLayer layer = null!;
    Tensor x;

    /// <summary>The whole layer.</summary>
    [Benchmark]
    public void ClipLayer() => Queued(layer.Forward(Exec, x));

    /// <inheritdoc />
    protected override IReadOnlyList<Action> TimedCalls => [ClipLayer];

    /// <inheritdoc />
    protected override void Prepare()
    {
        layer = Build(builder => new ClipLayer(builder, Config));
        x = Input(2, Config.MaxPositionEmbeddings, Config.HiddenSize);
    }
}
