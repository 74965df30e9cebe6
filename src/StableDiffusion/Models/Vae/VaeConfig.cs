using System.Collections.Immutable;
using System.Text.Json.Nodes;
using StableDiffusion.Models.SingleFile;

namespace StableDiffusion.Models.Vae;

/// <summary>
/// The facts of an <see cref="AutoencoderKL"/>, with diffusers' defaults. Mirrors <c>vae/config.json</c>, for instance
/// huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/vae/config.json.
/// </summary>
public sealed record VaeConfig
{
    /// <summary>Channels of the image that is encoded.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Channels of the image that is decoded.</summary>
    public int OutChannels { get; init; } = 3;

    /// <summary>Channels of each level, from full resolution down; each level but the last halves the image.</summary>
    public ImmutableArray<int> BlockOutChannels { get; init; } = [64];

    /// <summary>Residual blocks per level of the encoder; the decoder has one more.</summary>
    public int LayersPerBlock { get; init; } = 1;

    /// <summary>Channels of the latent.</summary>
    public int LatentChannels { get; init; } = 4;

    /// <summary>Groups of the norms.</summary>
    public int NormNumGroups { get; init; } = 32;

    /// <summary>Side of the training images, in pixels (the height, where they are not square).</summary>
    public int SampleSize { get; init; } = 32;

    /// <summary>Latents are multiplied by it after encoding and divided by it before decoding.</summary>
    public double ScalingFactor { get; init; } = 0.18215;

    /// <summary>Whether values overflow float16, so that a half-precision run must use another type here.</summary>
    public bool ForceUpcast { get; init; } = true;

    /// <summary>Whether a 1x1 convolution follows the encoder.</summary>
    public bool UseQuantConv { get; init; } = true;

    /// <summary>Whether a 1x1 convolution precedes the decoder.</summary>
    public bool UsePostQuantConv { get; init; } = true;

    /// <summary>Whether the lowest level has an attention block.</summary>
    public bool MidBlockAddAttention { get; init; } = true;

    /// <summary>Pixels per latent, along each side: 8 for Stable Diffusion.</summary>
    public int ScaleFactor => 1 << (BlockOutChannels.Length - 1);

    /// <summary>The configuration as diffusers' <c>config.json</c>.</summary>
    public JsonObject ToJson() => ConfigJson.Of(this);

    /// <summary>Reads <c>config.json</c> in the component's folder.</summary>
    /// <exception cref="InvalidConfigException">It is missing, malformed or asks for something that is not supported.</exception>
    public static VaeConfig Read(string folder) => Read(ConfigReader.Open(folder));

    /// <summary>Reads a configuration that is open.</summary>
    /// <inheritdoc cref="Read(string)"/>
    internal static VaeConfig Read(ConfigReader config)
    {
        if (config.Text("_class_name") == "AutoencoderTiny")
        {
            throw config.Bad("_class_name", "cannot take the place of the model's VAE: a tiny autoencoder decodes previews only, give it as the preview VAE");
        }
        ImmutableArray<int> channels = config.Ints("block_out_channels", [64]);
        CheckBlocks(config, "down_block_types", "DownEncoderBlock2D", channels.Length);
        CheckBlocks(config, "up_block_types", "UpDecoderBlock2D", channels.Length);
        config.RequireOneOf("act_fn", "silu", "swish");
        config.RequireOff("shift_factor");
        config.RequireOff("latents_mean");
        config.RequireOff("latents_std");
        int groups = config.Int("norm_num_groups", 32);
        if (channels.Any(count => count % groups != 0))
        {
            throw config.Bad("norm_num_groups", $"must divide every entry of \"block_out_channels\", {string.Join(", ", channels)}");
        }
        double scale = config.Number("scaling_factor", 0.18215);
        return new VaeConfig
        {
            InChannels = config.Int("in_channels", 3),
            OutChannels = config.Int("out_channels", 3),
            BlockOutChannels = channels,
            LayersPerBlock = config.Int("layers_per_block", 1),
            LatentChannels = config.Int("latent_channels", 4),
            NormNumGroups = groups,
            SampleSize = config.Size("sample_size")?.Height ?? 32,
            ScalingFactor = scale != 0 ? scale : throw config.Bad("scaling_factor", "must not be zero"),
            ForceUpcast = config.Bool("force_upcast", true),
            UseQuantConv = config.Bool("use_quant_conv", true),
            UsePostQuantConv = config.Bool("use_post_quant_conv", true),
            MidBlockAddAttention = config.Bool("mid_block_add_attention", true),
        };
    }

    private static void CheckBlocks(ConfigReader config, string key, string supported, int count)
    {
        ImmutableArray<string> types = config.Texts(key, [supported]);
        if (types.Length != count || types.Any(type => type != supported))
        {
            throw config.Bad(key, $"must be {supported} for each of the {count} entries of \"block_out_channels\"; nothing else is supported");
        }
    }
}
