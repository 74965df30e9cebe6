using StableDiffusion.Models.Vae;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>Works the configuration of an autoencoder out from names and shapes, of the original layout or diffusers'.</summary>
internal static class VaeShape
{
    private const int NormGroups = 32;

    /// <summary>Whether the names are diffusers'.</summary>
    public static bool IsDiffusers(StoredShapes shapes) => shapes.Has($"decoder.mid_block.resnets.0.conv1.weight");

    /// <summary>The configuration; scaling factor and the like are left at their defaults, those of SD 1.x.</summary>
    /// <exception cref="InvalidWeightsException">Tensors are missing.</exception>
    /// <exception cref="NotSupportedException">Channels that 32 norm groups do not divide.</exception>
    public static VaeConfig Derive(StoredShapes shapes)
    {
        bool diffusers = IsDiffusers(shapes);
        FormattableString Convolution(int level, int layer)
        {
            (string list, string layers) = diffusers ? ("down_blocks", "resnets") : ("down", "block");
            return $"encoder.{list}.{level}.{layers}.{layer}.conv1.weight";
        }
        int levels = Math.Max(1, shapes.Count(level => Convolution(level, 0)));
        int[] channels = [.. Enumerable.Range(0, levels).Select(level => shapes.Size(Convolution(level, 0), 0))];
        if (channels.Any(count => count % NormGroups != 0))
        {
            throw new NotSupportedException(
                $"'{shapes.Location}' cannot be loaded: its VAE has {string.Join(", ", channels)} channels, which {NormGroups} norm groups do not divide, and it has no configuration in its metadata.");
        }
        return new VaeConfig
        {
            InChannels = shapes.Size($"encoder.conv_in.weight", 1),
            OutChannels = shapes.Size($"decoder.conv_out.weight", 0),
            BlockOutChannels = [.. channels],
            LayersPerBlock = shapes.Count(layer => Convolution(0, layer)),
            LatentChannels = shapes.Size($"decoder.conv_in.weight", 1),
            SampleSize = 512,
            UseQuantConv = shapes.Has($"quant_conv.weight"),
            UsePostQuantConv = shapes.Has($"post_quant_conv.weight"),
            MidBlockAddAttention = shapes.Has($"decoder.mid_block.attentions.0.group_norm.weight") || shapes.Has($"decoder.mid.attn_1.norm.weight"),
        };
    }
}
