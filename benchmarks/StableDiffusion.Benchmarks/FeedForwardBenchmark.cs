using BenchmarkDotNet.Attributes;
using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Benchmarks;

/// <summary>The feed-forward part of a transformer block: GEGLU and the linear layer back.</summary>
public class FeedForwardBenchmark : LayerBenchmark
{
    FeedForward feedForward = null!;
    Tensor x;

    /// <summary>Where in the UNet.</summary>
    [ParamsAllValues]
    public UnetLevel Level { get; set; }

    /// <summary>The whole of it, with the residual.</summary>
    [Benchmark]
    public void FeedForward() => Queued(feedForward.Forward(Exec, x, residual: x));

    /// <inheritdoc />
    protected override IReadOnlyList<Action> TimedCalls => [FeedForward];

    /// <inheritdoc />
    protected override void Prepare()
    {
        feedForward = Build(builder => new FeedForward(builder, Level.Channels()));
        x = Input(Unet.Batch, Level.Size() * Level.Size(), Level.Channels());
    }
}
