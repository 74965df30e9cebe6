using BenchmarkDotNet.Attributes;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Benchmarks;

/// <summary>The four up blocks of the VAE decoder, for one picture of 512x512: three residual blocks and, but for the last, an upsampling.</summary>
public class UpDecoderBlock2DBenchmark : LayerBenchmark
{
    const int LastBlock = 3;
    static readonly int[] Channels = [512, 512, 512, 256, 128];

    UpDecoderBlock2D block = null!;
    Tensor x;

    /// <summary>Its index in <c>up_blocks</c>.</summary>
    [Params(0, 1, 2, LastBlock)]
    public int Block { get; set; }

    /// <summary>The block takes its input over; a view of the input has nothing to give away.</summary>
    [Benchmark]
    public void UpBlock() => Queued(block.Forward(Exec, x.View(x.Shape)));

    /// <inheritdoc />
    protected override IReadOnlyList<Action> TimedCalls => [UpBlock];

    /// <inheritdoc />
    protected override void Prepare()
    {
        int size = 64 << Block;
        block = Build(builder => new UpDecoderBlock2D(builder, Channels[Block], Channels[Block + 1], upsample: Block < LastBlock, new VaeConfig
        {
            LayersPerBlock = 2,
            NormNumGroups = 32,
        }));
        x = Input(1, size, size, Channels[Block]);
    }
}
