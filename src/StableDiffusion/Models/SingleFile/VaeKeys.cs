using System.Globalization;
using StableDiffusion.Models.Vae;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>
/// The autoencoder's names. The original counts the decoder's levels from full resolution as the encoder's, diffusers from the lowest; its
/// attention has 1x1 convolutions where diffusers has matrices.
/// </summary>
internal static class VaeKeys
{
    private static readonly (string Original, string Diffusers)[] Attention =
    [
        ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"),
    ];

    /// <summary>What diffusers before 0.17 called them.</summary>
    private static readonly (string Original, string Diffusers)[] OldAttention =
    [
        ("q", "query"), ("k", "key"), ("v", "value"), ("proj_out", "proj_attn"),
    ];

    /// <summary>The names of an autoencoder of any number of levels.</summary>
    public static KeyMap Map(VaeConfig config) => new(
    [
        new KeyPair("quant_conv", "quant_conv"),
        new KeyPair("post_quant_conv", "post_quant_conv"),
        .. Coder("encoder"), .. Coder("decoder"),
        .. Enumerable.Range(0, config.BlockOutChannels.Length).SelectMany(level => Levels(config, level)),
    ]);

    private static IEnumerable<KeyPair> Coder(string coder) =>
    [
        new($"{coder}.conv_in", $"{coder}.conv_in"),
        new($"{coder}.norm_out", $"{coder}.conv_norm_out"),
        new($"{coder}.conv_out", $"{coder}.conv_out"),
        .. Resnet($"{coder}.mid.block_1", $"{coder}.mid_block.resnets.0"),
        .. Resnet($"{coder}.mid.block_2", $"{coder}.mid_block.resnets.1"),
        new($"{coder}.mid.attn_1.norm", $"{coder}.mid_block.attentions.0.group_norm"),
        .. Attention.Select(names => Matrix(coder, names, KeyDirection.Both)),
        .. OldAttention.Select(names => Matrix(coder, names, KeyDirection.ToOriginal)),
    ];

    private static IEnumerable<KeyPair> Levels(VaeConfig config, int level)
    {
        int up = config.BlockOutChannels.Length - 1 - level;
        string down = Text($"encoder.down.{level}"), rise = Text($"decoder.up.{level}");
        List<KeyPair> pairs =
        [
            new($"{down}.downsample.conv", Text($"encoder.down_blocks.{level}.downsamplers.0.conv")),
            new($"{rise}.upsample.conv", Text($"decoder.up_blocks.{up}.upsamplers.0.conv")),
        ];
        for (int layer = 0; layer <= config.LayersPerBlock; layer++)
        {
            // The encoder has one layer less; a pair too many does no harm.
            pairs.AddRange(Resnet(Text($"{down}.block.{layer}"), Text($"encoder.down_blocks.{level}.resnets.{layer}")));
            pairs.AddRange(Resnet(Text($"{rise}.block.{layer}"), Text($"decoder.up_blocks.{up}.resnets.{layer}")));
        }
        return pairs;
    }

    private static KeyPair Matrix(string coder, (string Original, string Diffusers) names, KeyDirection direction) =>
        new($"{coder}.mid.attn_1.{names.Original}", $"{coder}.mid_block.attentions.0.{names.Diffusers}", Change: TensorChange.Squeeze, Direction: direction);

    private static IEnumerable<KeyPair> Resnet(string original, string diffusers) =>
    [
        new($"{original}.nin_shortcut", $"{diffusers}.conv_shortcut"),
        new(original, diffusers),
    ];

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
