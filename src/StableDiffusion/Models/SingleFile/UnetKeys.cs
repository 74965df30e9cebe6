using System.Globalization;
using StableDiffusion.Models.Unet;

namespace StableDiffusion.Models.SingleFile;

/// <summary>
/// The UNet's names. The original counts blocks without regard to levels: <c>input_blocks</c> down and <c>output_blocks</c> up, each with its
/// residual block at 0 and its attention at 1 (github.com/CompVis/stable-diffusion, ldm/modules/diffusionmodules/openaimodel.py). Inside
/// attention the names are the same.
/// </summary>
internal static class UnetKeys
{
    private static readonly (string Original, string Diffusers)[] Resnet =
    [
        ("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("emb_layers.1", "time_emb_proj"),
        ("out_layers.0", "norm2"), ("out_layers.3", "conv2"), ("skip_connection", "conv_shortcut"),
    ];

    /// <summary>The names of a UNet of any block layout.</summary>
    public static KeyMap Map(UnetConfig config) => new(Pairs(config));

    private static IEnumerable<KeyPair> Pairs(UnetConfig config)
    {
        KeyPair[] ends =
        [
            new("time_embed.0", "time_embedding.linear_1"),
            new("time_embed.2", "time_embedding.linear_2"),
            // Guidance-distilled models came after the original code; the name is the one web UIs know.
            new("time_embed.cond_proj", "time_embedding.cond_proj"),
            new("label_emb.0.0", "add_embedding.linear_1"),
            new("label_emb.0.2", "add_embedding.linear_2"),
            new("input_blocks.0.0", "conv_in"),
            new("out.0", "conv_norm_out"),
            new("out.2", "conv_out"),
            new("middle_block.1", "mid_block.attentions.0"),
            .. ResnetPairs("middle_block.0", "mid_block.resnets.0"),
            .. ResnetPairs("middle_block.2", "mid_block.resnets.1"),
        ];
        return [.. ends, .. Down(config), .. Up(config)];
    }

    private static IEnumerable<KeyPair> Down(UnetConfig config)
    {
        int index = 1;
        for (int level = 0; level < config.Levels; level++)
        {
            string block = Text($"down_blocks.{level}");
            bool attends = config.DownBlockTypes[level] == UnetConfig.CrossAttnDownBlock;
            for (int layer = 0; layer < config.LayersPerBlock[level]; layer++, index++)
            {
                foreach (KeyPair pair in ResnetPairs(Text($"input_blocks.{index}.0"), Text($"{block}.resnets.{layer}")))
                {
                    yield return pair;
                }
                if (attends)
                {
                    yield return new KeyPair(Text($"input_blocks.{index}.1"), Text($"{block}.attentions.{layer}"));
                }
            }
            if (level < config.Levels - 1)
            {
                yield return new KeyPair(Text($"input_blocks.{index++}.0.op"), Text($"{block}.downsamplers.0.conv"));
            }
        }
    }

    private static IEnumerable<KeyPair> Up(UnetConfig config)
    {
        int index = 0;
        for (int level = 0; level < config.Levels; level++)
        {
            string block = Text($"up_blocks.{level}");
            bool attends = config.UpBlockTypes[level] == UnetConfig.CrossAttnUpBlock;
            int layers = config.LayersPerBlock[config.Levels - 1 - level] + 1;
            for (int layer = 0; layer < layers; layer++, index++)
            {
                foreach (KeyPair pair in ResnetPairs(Text($"output_blocks.{index}.0"), Text($"{block}.resnets.{layer}")))
                {
                    yield return pair;
                }
                if (attends)
                {
                    yield return new KeyPair(Text($"output_blocks.{index}.1"), Text($"{block}.attentions.{layer}"));
                }
            }
            if (level < config.Levels - 1)
            {
                // The upsampler stands behind whatever else the block has.
                yield return new KeyPair(Text($"output_blocks.{index - 1}.{(attends ? 2 : 1)}.conv"), Text($"{block}.upsamplers.0.conv"));
            }
        }
    }

    private static IEnumerable<KeyPair> ResnetPairs(string original, string diffusers) =>
        Resnet.Select(names => new KeyPair($"{original}.{names.Original}", $"{diffusers}.{names.Diffusers}"));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
