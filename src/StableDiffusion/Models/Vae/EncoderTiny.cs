using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.Vae;

/// <summary>The encoder of an <see cref="AutoencoderTiny"/>: an image to its latent.</summary>
public sealed class EncoderTiny : Layer
{
    private readonly List<Layer> layers = [];

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="config">The model's facts.</param>
    /// <param name="weights">Where the numbered layers stand.</param>
    public EncoderTiny(LayerBuilder builder, AutoencoderTinyConfig config, WeightScope weights) : base(builder)
    {
        LayerBuilder Next() => builder["layers"].At($"{layers.Count}", weights[layers.Count]);
        int channels = config.EncoderChannels;
        for (int level = 0; level < config.EncoderBlocks.Length; level++)
        {
            layers.Add(level == 0
                ? new Conv2d(Next(), config.InChannels, channels)
                : new Conv2d(Next(), channels, channels, stride: 2, bias: false));
            for (int i = 0; i < config.EncoderBlocks[level]; i++)
            {
                layers.Add(new AutoencoderTinyBlock(Next(), channels));
            }
        }
        layers.Add(new Conv2d(Next(), channels, config.LatentChannels));
    }

    /// <summary><c>[B,H,W,3]</c> of values in 0..1 to <c>[B,H/8,W/8,latent]</c>, sides rounded up. Takes x over.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        foreach (Layer layer in layers)
        {
            if (layer is AutoencoderTinyBlock block)
            {
                x = block.Forward(exec, x);
                continue;
            }
            Tensor output = ((Conv2d)layer).Forward(exec, x);
            x.Dispose();
            x = output;
        }
        return x;
    }
}
