using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.Vae;

/// <summary>The decoder of an <see cref="AutoencoderTiny"/>: a latent to an image.</summary>
public sealed class DecoderTiny : Layer
{
    private readonly Conv2d conv_in;
    private readonly AutoencoderTinyBlock[][] blocks;
    private readonly Conv2d[] convs; // behind the blocks of each level

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="config">The model's facts.</param>
    /// <param name="weights">Where the numbered layers stand.</param>
    /// <param name="first">The first convolution's number there: 0, or 1 where the clamp before it is counted.</param>
    public DecoderTiny(LayerBuilder builder, AutoencoderTinyConfig config, WeightScope weights, int first = 0) : base(builder)
    {
        int next = 0;
        LayerBuilder Next() => builder["layers"].At($"{next}", weights[first + next++]);
        int levels = config.DecoderBlocks.Length, channels = config.DecoderChannels;
        conv_in = new Conv2d(Next(), config.LatentChannels, channels);
        next++; // its activation
        blocks = new AutoencoderTinyBlock[levels][];
        convs = new Conv2d[levels];
        for (int level = 0; level < levels; level++)
        {
            blocks[level] = [.. Enumerable.Range(0, config.DecoderBlocks[level]).Select(_ => new AutoencoderTinyBlock(Next(), channels))];
            bool last = level == levels - 1;
            if (!last)
            {
                next++; // the upsampling, which has no weights
            }
            convs[level] = last ? new Conv2d(Next(), channels, config.OutChannels) : new Conv2d(Next(), channels, channels, doubles: true, bias: false);
        }
    }

    /// <summary><c>[B,h,w,latent]</c>, held in -3..3, to <c>[B,8h,8w,3]</c>, about 0..1. Takes x over.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        Tensor hidden = conv_in.Forward(exec, x);
        x.Dispose();
        exec.Activate(hidden, hidden, Activation.Relu);
        for (int level = 0; level < convs.Length; level++)
        {
            foreach (AutoencoderTinyBlock block in blocks[level])
            {
                hidden = block.Forward(exec, hidden);
            }
            bool last = level == convs.Length - 1;
            Tensor output = convs[level].Forward(exec, hidden, upsampleTo: last ? default : (2 * (int)hidden[1], 2 * (int)hidden[2]));
            hidden.Dispose();
            hidden = output;
        }
        return hidden;
    }
}
