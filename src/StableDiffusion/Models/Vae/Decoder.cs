using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Vae;

/// <summary>The decoder of an <see cref="AutoencoderKL"/>: a latent to an image.</summary>
public sealed class Decoder : Layer
{
    private readonly Conv2d conv_in;
    private readonly UNetMidBlock2D mid_block;
    private readonly UpDecoderBlock2D[] up_blocks;
    private readonly GroupNorm conv_norm_out;
    private readonly Conv2d conv_out;

    /// <summary>Declares it.</summary>
    public Decoder(LayerBuilder builder, VaeConfig config) : base(builder)
    {
        int levels = config.BlockOutChannels.Length, channels = config.BlockOutChannels[^1];
        conv_in = new Conv2d(builder["conv_in"], config.LatentChannels, channels);
        mid_block = new UNetMidBlock2D(builder["mid_block"], channels, config);
        up_blocks = new UpDecoderBlock2D[levels];
        for (int i = 0; i < levels; i++)
        {
            int outputs = config.BlockOutChannels[levels - 1 - i];
            up_blocks[i] = new UpDecoderBlock2D(builder["up_blocks"][i], channels, outputs, upsample: i < levels - 1, config);
            channels = outputs;
        }
        conv_norm_out = new GroupNorm(builder["conv_norm_out"], channels, config.NormNumGroups, VaeBlocks.NormEps);
        conv_out = new Conv2d(builder["conv_out"], channels, config.OutChannels);
    }

    /// <summary><c>[B,h,w,latent]</c> to <c>[B,8h,8w,3]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor latent)
    {
        using TraceScope trace = Trace(exec);
        // 1. pre-process
        Tensor hidden = conv_in.Forward(exec, latent);
        // 2. mid
        hidden = mid_block.Forward(exec, hidden);
        // 3. up
        foreach (UpDecoderBlock2D block in up_blocks)
        {
            hidden = block.Forward(exec, hidden);
        }
        // 4. post-process
        Tensor normed = conv_norm_out.Forward(exec, hidden, activation: Activation.Silu);
        hidden.Dispose();
        Tensor output = conv_out.Forward(exec, normed);
        normed.Dispose();
        return output;
    }
}
