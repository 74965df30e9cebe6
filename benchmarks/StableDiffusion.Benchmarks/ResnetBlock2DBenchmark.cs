using BenchmarkDotNet.Attributes;
using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Benchmarks;

/// <summary>The residual block: of a down block, with as many channels out as in, and of an up block, with a skip connection.</summary>
public class ResnetBlock2DBenchmark : LayerBenchmark
{
    ResnetBlock2D down = null!, up = null!;
    Tensor x, skip;
    TimeContext time;

    /// <summary>Where in the UNet.</summary>
    [ParamsAllValues]
    public UnetLevel Level { get; set; }

    /// <summary>In a down block.</summary>
    [Benchmark(Baseline = true)]
    public void Down() => Queued(down.Forward(Exec, x, time));

    /// <summary>In an up block.</summary>
    [Benchmark]
    public void Up() => Queued(up.Forward(Exec, x, time, skip));

    /// <inheritdoc />
    protected override IReadOnlyList<Action> TimedCalls => [Down, Up];

    /// <inheritdoc />
    protected override void Prepare()
    {
        int size = Level.Size(), channels = Level.Channels();
        down = Build(builder => new ResnetBlock2D(builder, channels, channels, Unet.EmbeddingChannels, Unet.Groups, 1e-5f));
        up = Build(builder => new ResnetBlock2D(builder, 2 * channels, channels, Unet.EmbeddingChannels, Unet.Groups, 1e-5f));
        x = Input(Unet.Batch, size, size, channels);
        skip = Input(Unet.Batch, size, size, channels);
        time = new TimeContext(Input(Unet.Batch, Unet.EmbeddingChannels));
    }
}
