using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Vae;

/// <summary>The encoder of an <see cref="AutoencoderKL"/>: an image to the raw moments of its latent.</summary>
public sealed class Encoder : Layer
{
    private readonly Conv2d conv_in;
    private readonly DownEncoderBlock2D[] down_blocks;
    private readonly UNetMidBlock2D mid_block;
    private readonly GroupNorm conv_norm_out;
    private readonly Conv2d conv_out;

    /// <summary>Declares it.</summary>
    public Encoder(LayerBuilder builder, VaeConfig config) : base(builder)
    {
        int channels = config.BlockOutChannels[0], levels = config.BlockOutChannels.Length;
        conv_in = new Conv2d(builder["conv_in"], config.InChannels, channels);
        down_blocks = new DownEncoderBlock2D[levels];
        for (int i = 0; i < levels; i++)
        {
            int outputs = config.BlockOutChannels[i];
            down_blocks[i] = new DownEncoderBlock2D(builder["down_blocks"][i], channels, outputs, downsample: i < levels - 1, config);
            channels = outputs;
        }
        mid_block = new UNetMidBlock2D(builder["mid_block"], channels, config);
        conv_norm_out = new GroupNorm(builder["conv_norm_out"], channels, config.NormNumGroups, VaeBlocks.NormEps);
        conv_out = new Conv2d(builder["conv_out"], channels, 2 * config.LatentChannels);
    }

    /// <summary><c>[B,H,W,3]</c> to <c>[B,H/8,W/8,2*latent]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor image)
    {
        using TraceScope trace = Trace(exec);
        // 1. pre-process
        Tensor hidden = conv_in.Forward(exec, image);
        // 2. down
        foreach (DownEncoderBlock2D block in down_blocks)
        {
            hidden = block.Forward(exec, hidden);
        }
        // 3. mid
        hidden = mid_block.Forward(exec, hidden);
        // 4. post-process
        Tensor normed = conv_norm_out.Forward(exec, hidden, activation: Activation.Silu);
        hidden.Dispose();
        Tensor output = conv_out.Forward(exec, normed);
        normed.Dispose();
        return output;
    }
}
