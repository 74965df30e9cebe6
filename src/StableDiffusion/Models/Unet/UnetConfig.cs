using System.Collections.Immutable;
using System.Text.Json.Nodes;
using StableDiffusion.Models.SingleFile;

namespace StableDiffusion.Models.Unet;

/// <summary>
/// The facts of a <see cref="UNet2DConditionModel"/>, with diffusers' defaults, which are SD 1.x but for the context's width. Mirrors
/// <c>unet/config.json</c>, for instance huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/unet/config.json.
/// Lists have one entry per level, from full resolution down.
/// </summary>
public sealed record UnetConfig
{
    internal const string DownBlock = "DownBlock2D", CrossAttnDownBlock = "CrossAttnDownBlock2D";
    internal const string UpBlock = "UpBlock2D", CrossAttnUpBlock = "CrossAttnUpBlock2D";
    internal const string TextTime = "text_time";

    /// <summary>Height and width of the latents it was trained on; null where the config does not say.</summary>
    public (int Height, int Width)? SampleSize { get; init; }

    /// <summary>Channels in: 4 latent channels, and for inpainting, depth or instruction models those of their extra images.</summary>
    public int InChannels { get; init; } = 4;

    /// <summary>Channels out.</summary>
    public int OutChannels { get; init; } = 4;

    /// <summary>Whether the cosines of the timestep embedding come first.</summary>
    public bool FlipSinToCos { get; init; } = true;

    /// <summary>Shift in the frequencies of the timestep embedding, diffusers' <c>downscale_freq_shift</c>.</summary>
    public float FreqShift { get; init; }

    /// <summary>Kinds of the levels on the way down.</summary>
    public ImmutableArray<string> DownBlockTypes { get; init; } = [CrossAttnDownBlock, CrossAttnDownBlock, CrossAttnDownBlock, DownBlock];

    /// <summary>Kinds of the levels on the way up, lowest resolution first.</summary>
    public ImmutableArray<string> UpBlockTypes { get; init; } = [UpBlock, CrossAttnUpBlock, CrossAttnUpBlock, CrossAttnUpBlock];

    /// <summary>Channels of each level.</summary>
    public ImmutableArray<int> BlockOutChannels { get; init; } = [320, 640, 1280, 1280];

    /// <summary>Residual blocks of each level on the way down; on the way up there is one more.</summary>
    public ImmutableArray<int> LayersPerBlock { get; init; } = [2, 2, 2, 2];

    /// <summary>Padding of the downsampling convolutions.</summary>
    public int DownsamplePadding { get; init; } = 1;

    /// <summary>Groups of the norms.</summary>
    public int NormNumGroups { get; init; } = 32;

    /// <summary>Epsilon of the norms in residual blocks and at the end.</summary>
    public float NormEps { get; init; } = 1e-5f;

    /// <summary>Channels of the context, for each level.</summary>
    public ImmutableArray<int> CrossAttentionDim { get; init; } = [1280, 1280, 1280, 1280];

    /// <summary>Transformer blocks behind each residual block of each level on the way down; the last entry also serves the middle.</summary>
    public ImmutableArray<ImmutableArray<int>> TransformerLayersPerBlock { get; init; } = [[1, 1], [1, 1], [1, 1], [1, 1]];

    /// <summary>The same on the way up, lowest resolution first, <c>reverse_transformer_layers_per_block</c>.</summary>
    public ImmutableArray<ImmutableArray<int>> UpTransformerLayersPerBlock { get; init; } = [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]];

    /// <summary>
    /// Attention heads of each level. Configs call it <c>attention_head_dim</c>, which was a mistake that too many files repeat to be mended.
    /// </summary>
    public ImmutableArray<int> NumAttentionHeads { get; init; } = [8, 8, 8, 8];

    /// <summary>Whether the transformers' projections are stored as linear layers, not as 1x1 convolutions.</summary>
    public bool UseLinearProjection { get; init; }

    /// <summary>
    /// Whether attention scores overflow float16. Nothing is left to do for it: every device computes scores and softmax in float32 from
    /// the queries and keys as they are, which is what diffusers does where this is set.
    /// </summary>
    public bool UpcastAttention { get; init; }

    /// <summary>Whether pooled text and picture sizes are added to the time embedding, <c>addition_embed_type</c> "text_time" (SDXL).</summary>
    public bool AddTextTime { get; init; }

    /// <summary>Channels of the embedding of each picture size, where they are added.</summary>
    public int AdditionTimeEmbedDim { get; init; }

    /// <summary>Channels of pooled text and embedded picture sizes together, where they are added.</summary>
    public int ProjectionClassEmbeddingsInputDim { get; init; }

    /// <summary>Channels of the embedded guidance scale that guidance-distilled models take; null for others.</summary>
    public int? TimeCondProjDim { get; init; }

    /// <summary>Channels of the time embedding; null for four times those of the first level.</summary>
    public int? TimeEmbeddingDim { get; init; }

    /// <summary>Side of the first convolution's kernel.</summary>
    public int ConvInKernel { get; init; } = 3;

    /// <summary>Side of the last convolution's kernel.</summary>
    public int ConvOutKernel { get; init; } = 3;

    /// <summary>Number of levels.</summary>
    public int Levels => BlockOutChannels.Length;

    /// <summary>Channels of the time embedding.</summary>
    public int TimeEmbedDim => TimeEmbeddingDim ?? 4 * BlockOutChannels[0];

    /// <summary>The configuration as diffusers' <c>config.json</c>.</summary>
    public JsonObject ToJson() => ConfigJson.Of(this);

    /// <summary>Reads <c>config.json</c> in the component's folder.</summary>
    /// <exception cref="InvalidConfigException">It is missing, malformed or asks for something that is not supported.</exception>
    public static UnetConfig Read(string folder) => Read(ConfigReader.Open(folder));

    /// <summary>Reads a configuration that is open.</summary>
    /// <inheritdoc cref="Read(string)"/>
    internal static UnetConfig Read(ConfigReader config)
    {
        RefuseUnsupported(config);
        ImmutableArray<int> channels = config.Ints("block_out_channels", [320, 640, 1280, 1280]);
        int levels = channels.Length;
        ImmutableArray<int> layers = config.PerBlock("layers_per_block", 2, levels);
        ImmutableArray<int> upLayers = [.. layers.Reverse().Select(count => count + 1)];
        ImmutableArray<ImmutableArray<int>>? down = config.PerLayer("transformer_layers_per_block", layers);
        var read = new UnetConfig
        {
            SampleSize = ReadSampleSize(config),
            InChannels = config.Int("in_channels", 4),
            OutChannels = config.Int("out_channels", 4),
            FlipSinToCos = config.Bool("flip_sin_to_cos", true),
            FreqShift = (float)config.Number("freq_shift", 0),
            DownBlockTypes = config.Texts("down_block_types", [CrossAttnDownBlock, CrossAttnDownBlock, CrossAttnDownBlock, DownBlock]),
            UpBlockTypes = config.Texts("up_block_types", [UpBlock, CrossAttnUpBlock, CrossAttnUpBlock, CrossAttnUpBlock]),
            BlockOutChannels = channels,
            LayersPerBlock = layers,
            DownsamplePadding = config.Int("downsample_padding", 1, minimum: 0),
            NormNumGroups = config.Int("norm_num_groups", 32),
            NormEps = (float)config.Number("norm_eps", 1e-5),
            CrossAttentionDim = config.PerBlock("cross_attention_dim", 1280, levels),
            TransformerLayersPerBlock = down ?? Uniform(1, layers),
            UpTransformerLayersPerBlock = config.PerLayer("reverse_transformer_layers_per_block", upLayers) ?? Reverse(config, down, upLayers),
            NumAttentionHeads = config.PerBlock(config.Has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim", 8, levels),
            UseLinearProjection = config.Bool("use_linear_projection", false),
            UpcastAttention = config.Bool("upcast_attention", false),
            AddTextTime = config.Text("addition_embed_type") == TextTime,
            AdditionTimeEmbedDim = config.Int("addition_time_embed_dim", 0),
            ProjectionClassEmbeddingsInputDim = config.Int("projection_class_embeddings_input_dim", 0),
            TimeCondProjDim = config.OptionalInt("time_cond_proj_dim"),
            TimeEmbeddingDim = config.OptionalInt("time_embedding_dim"),
            ConvInKernel = config.Int("conv_in_kernel", 3),
            ConvOutKernel = config.Int("conv_out_kernel", 3),
        };
        read.CheckAgainst(config);
        return read;
    }

    /// <summary>Configs older than diffusers 0.9 say 32 where 64 is meant; its pipelines mend that when they load one.</summary>
    private static (int Height, int Width)? ReadSampleSize(ConfigReader config)
    {
        (int Height, int Width)? size = config.Size("sample_size");
        bool old = Version.TryParse(config.Text("_diffusers_version")?.Split('-', '+')[0].Replace(".dev0", "", StringComparison.Ordinal), out Version? version) && version < new Version(0, 9);
        return old && size?.Height < 64 ? (64, 64) : size;
    }

    /// <summary>What diffusers knows and this does not, by name, so that no model runs with a part missing.</summary>
    private static void RefuseUnsupported(ConfigReader config)
    {
        config.RequireOneOf("act_fn", "silu", "swish");
        config.RequireOneOf("mid_block_type", "UNetMidBlock2DCrossAttn");
        config.RequireOneOf("addition_embed_type", TextTime);
        config.RequireOneOf("time_embedding_type", "positional");
        config.RequireOneOf("resnet_time_scale_shift", "default");
        config.RequireOneOf("attention_type", "default");
        foreach (string key in (string[])["mid_block_type", "norm_num_groups"])
        {
            // Written out as null these two leave a part of the network out.
            if (config.IsNull(key))
            {
                throw config.Bad(key, "is null, which is not supported");
            }
        }
        foreach (string key in (string[])[
            "center_input_sample", "only_cross_attention", "dual_cross_attention", "mid_block_only_cross_attention", "cross_attention_norm",
            "class_embed_type", "num_class_embeds", "class_embeddings_concat", "encoder_hid_dim", "encoder_hid_dim_type",
            "time_embedding_act_fn", "timestep_post_act", "resnet_skip_time_act"])
        {
            config.RequireOff(key);
        }
        config.RequireUnit("mid_block_scale_factor");
        config.RequireUnit("resnet_out_scale_factor");
    }

    private void CheckAgainst(ConfigReader config)
    {
        CheckTypes(config, "down_block_types", DownBlockTypes, DownBlock, CrossAttnDownBlock);
        CheckTypes(config, "up_block_types", UpBlockTypes, UpBlock, CrossAttnUpBlock);
        if (BlockOutChannels.Any(count => count % NormNumGroups != 0))
        {
            throw config.Bad("norm_num_groups", $"must divide every entry of \"block_out_channels\", {string.Join(", ", BlockOutChannels)}");
        }
        for (int i = 0; i < Levels; i++)
        {
            if (NumAttentionHeads[i] > BlockOutChannels[i])
            {
                throw config.Bad("attention_head_dim", $"means the number of heads and must be at most the channels of its block, {BlockOutChannels[i]} in block {i}");
            }
        }
        if (AddTextTime && (AdditionTimeEmbedDim == 0 || ProjectionClassEmbeddingsInputDim <= AdditionTimeEmbedDim))
        {
            throw config.Bad("addition_embed_type", "needs \"addition_time_embed_dim\" and a larger \"projection_class_embeddings_input_dim\"");
        }
        foreach ((string key, int kernel) in ((string, int)[])[("conv_in_kernel", ConvInKernel), ("conv_out_kernel", ConvOutKernel)])
        {
            if (kernel % 2 == 0)
            {
                throw config.Bad(key, "must be odd");
            }
        }
        if (DownsamplePadding > 1)
        {
            throw config.Bad("downsample_padding", "must be 0 or 1");
        }
    }

    private void CheckTypes(ConfigReader config, string key, ImmutableArray<string> types, params ReadOnlySpan<string> supported)
    {
        if (types.Length != Levels)
        {
            throw config.Bad(key, $"must have one entry for each of the {Levels} entries of \"block_out_channels\"");
        }
        foreach (string type in types)
        {
            if (!supported.Contains(type))
            {
                throw config.Bad(key, $"only {string.Join(" and ", supported.ToArray())} are supported");
            }
        }
    }

    private static ImmutableArray<ImmutableArray<int>> Uniform(int depth, ImmutableArray<int> layers) =>
        [.. layers.Select(count => ImmutableArray.CreateRange(Enumerable.Repeat(depth, count)))];

    /// <summary>The depths on the way up where the config gives only those on the way down.</summary>
    private static ImmutableArray<ImmutableArray<int>> Reverse(ConfigReader config, ImmutableArray<ImmutableArray<int>>? down, ImmutableArray<int> upLayers)
    {
        if (down is not { } depths)
        {
            return Uniform(1, upLayers);
        }
        if (depths.Any(depth => depth.Distinct().Count() > 1))
        {
            throw config.Bad("transformer_layers_per_block", "needs \"reverse_transformer_layers_per_block\" beside it, since its blocks have unequal layers");
        }
        return [.. depths.Reverse().Select((depth, i) => ImmutableArray.CreateRange(Enumerable.Repeat(depth[0], upLayers[i])))];
    }
}
