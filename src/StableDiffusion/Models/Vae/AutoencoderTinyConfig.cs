using System.Collections.Immutable;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.Vae;

/// <summary>
/// The facts of an <see cref="AutoencoderTiny"/>, with diffusers' defaults, which are TAESD's. Mirrors its <c>config.json</c>, for instance
/// huggingface.co/madebyollin/taesd/blob/main/config.json.
/// </summary>
public sealed record AutoencoderTinyConfig
{
    /// <summary>Channels of the image that is encoded.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Channels of the image that is decoded.</summary>
    public int OutChannels { get; init; } = 3;

    /// <summary>Channels of the latent.</summary>
    public int LatentChannels { get; init; } = 4;

    /// <summary>Channels of all of the encoder's levels.</summary>
    public int EncoderChannels { get; init; } = 64;

    /// <summary>Channels of all of the decoder's levels.</summary>
    public int DecoderChannels { get; init; } = 64;

    /// <summary>Residual blocks of each level of the encoder, from full resolution down; each level but the first halves the image.</summary>
    public ImmutableArray<int> EncoderBlocks { get; init; } = [1, 3, 3, 3];

    /// <summary>Residual blocks of each level of the decoder, from the latent up; each level but the last doubles the image.</summary>
    public ImmutableArray<int> DecoderBlocks { get; init; } = [3, 3, 3, 1];

    /// <summary>Latents are multiplied by it after encoding and divided by it before decoding: 1, for TAESD speaks the UNet's latents.</summary>
    public double ScalingFactor { get; init; } = 1;

    /// <summary>Pixels per latent, along each side: 8 for Stable Diffusion.</summary>
    public int ScaleFactor => 1 << (DecoderBlocks.Length - 1);

    /// <summary>Reads <c>config.json</c> in the folder.</summary>
    /// <exception cref="InvalidConfigException">It is missing, malformed, of another model or asks for something that is not supported.</exception>
    public static AutoencoderTinyConfig Read(string folder)
    {
        ConfigReader config = ConfigReader.Open(folder);
        config.RequireOneOf("_class_name", "AutoencoderTiny");
        config.RequireOneOf("act_fn", "relu");
        config.RequireOneOf("upsample_fn", "nearest");
        if (config.Int("upsampling_scaling_factor", 2) != 2)
        {
            throw config.Bad("upsampling_scaling_factor", "must be 2");
        }
        if (config.Number("shift_factor", 0) != 0)
        {
            throw config.Bad("shift_factor", "must be 0");
        }
        ImmutableArray<int> encoder = config.Ints("num_encoder_blocks", [1, 3, 3, 3]), decoder = config.Ints("num_decoder_blocks", [3, 3, 3, 1]);
        if (encoder.Length != decoder.Length)
        {
            throw config.Bad("num_decoder_blocks", $"must have as many entries as \"num_encoder_blocks\", {encoder.Length}");
        }
        double scale = config.Number("scaling_factor", 1);
        return new AutoencoderTinyConfig
        {
            InChannels = config.Int("in_channels", 3),
            OutChannels = config.Int("out_channels", 3),
            LatentChannels = config.Int("latent_channels", 4),
            EncoderChannels = Width(config, "encoder_block_out_channels", encoder.Length),
            DecoderChannels = Width(config, "decoder_block_out_channels", decoder.Length),
            EncoderBlocks = encoder,
            DecoderBlocks = decoder,
            ScalingFactor = scale != 0 ? scale : throw config.Bad("scaling_factor", "must not be zero"),
        };
    }

    /// <summary>TAESD's facts, with the numbers of channels that the tensors of a file without a config have.</summary>
    internal static AutoencoderTinyConfig Of(IWeightSource source)
    {
        var config = new AutoencoderTinyConfig();
        // [outputs, inputs, 3, 3] of the first convolution; in the original files the decoder's is number 1, the encoder's 0.
        WeightInfo? decoder = source.Find("decoder.layers.0.weight", []) ?? source.Find("1.weight", []);
        WeightInfo? encoder = source.Find("encoder.layers.0.weight", []) ?? source.Find("0.weight", []);
        if (decoder is { Shape.Length: 4 })
        {
            config = config with { DecoderChannels = (int)decoder.Shape[0], LatentChannels = (int)decoder.Shape[1] };
        }
        return encoder is { Shape.Length: 4 } ? config with { EncoderChannels = (int)encoder.Shape[0] } : config;
    }

    /// <summary>diffusers' blocks neither widen nor narrow, so that only one number for all of them gives a network that runs.</summary>
    private static int Width(ConfigReader config, string key, int levels)
    {
        ImmutableArray<int> channels = config.Ints(key, [.. Enumerable.Repeat(64, levels)]);
        return channels.Length == levels && channels.All(count => count == channels[0])
            ? channels[0]
            : throw config.Bad(key, $"must be {levels} equal numbers");
    }
}
