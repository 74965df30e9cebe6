using System.Collections.Immutable;
using System.Text.Json.Nodes;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Models.SingleFile;

/// <summary>Configurations as the <c>config.json</c> of diffusers and transformers, complete enough for these to load.</summary>
internal static class ConfigJson
{
    public static JsonObject Of(UnetConfig config)
    {
        ImmutableArray<ImmutableArray<int>> reversed = [.. config.TransformerLayersPerBlock.Reverse().Select((depths, i) => Repeat(depths[0], config.UpTransformerLayersPerBlock[i].Length))];
        var json = new JsonObject
        {
            ["_class_name"] = "UNet2DConditionModel",
            ["act_fn"] = "silu",
            ["addition_embed_type"] = config.AddTextTime ? UnetConfig.TextTime : null,
            ["addition_time_embed_dim"] = config.AddTextTime ? config.AdditionTimeEmbedDim : null,
            ["attention_head_dim"] = OneOrAll(config.NumAttentionHeads),
            ["block_out_channels"] = List(config.BlockOutChannels),
            ["center_input_sample"] = false,
            ["conv_in_kernel"] = config.ConvInKernel,
            ["conv_out_kernel"] = config.ConvOutKernel,
            ["cross_attention_dim"] = OneOrAll(config.CrossAttentionDim),
            ["down_block_types"] = List(config.DownBlockTypes),
            ["downsample_padding"] = config.DownsamplePadding,
            ["flip_sin_to_cos"] = config.FlipSinToCos,
            ["freq_shift"] = config.FreqShift,
            ["in_channels"] = config.InChannels,
            ["layers_per_block"] = OneOrAll(config.LayersPerBlock),
            ["mid_block_scale_factor"] = 1,
            ["norm_eps"] = Short(config.NormEps),
            ["norm_num_groups"] = config.NormNumGroups,
            ["out_channels"] = config.OutChannels,
            ["projection_class_embeddings_input_dim"] = config.AddTextTime ? config.ProjectionClassEmbeddingsInputDim : null,
            ["sample_size"] = config.SampleSize is not { } size ? null : size.Height == size.Width ? size.Height : List([size.Height, size.Width]),
            ["time_cond_proj_dim"] = config.TimeCondProjDim,
            ["time_embedding_dim"] = config.TimeEmbeddingDim,
            ["transformer_layers_per_block"] = Depths(config.TransformerLayersPerBlock),
            ["up_block_types"] = List(config.UpBlockTypes),
            ["upcast_attention"] = config.UpcastAttention,
            ["use_linear_projection"] = config.UseLinearProjection,
        };
        if (!config.UpTransformerLayersPerBlock.Zip(reversed).All(pair => pair.First.SequenceEqual(pair.Second)))
        {
            json["reverse_transformer_layers_per_block"] = new JsonArray([.. config.UpTransformerLayersPerBlock.Select(depths => (JsonNode)List(depths))]);
        }
        return json;
    }

    public static JsonObject Of(VaeConfig config) => new()
    {
        ["_class_name"] = "AutoencoderKL",
        ["act_fn"] = "silu",
        ["block_out_channels"] = List(config.BlockOutChannels),
        ["down_block_types"] = List(Repeat("DownEncoderBlock2D", config.BlockOutChannels.Length)),
        ["force_upcast"] = config.ForceUpcast,
        ["in_channels"] = config.InChannels,
        ["latent_channels"] = config.LatentChannels,
        ["layers_per_block"] = config.LayersPerBlock,
        ["mid_block_add_attention"] = config.MidBlockAddAttention,
        ["norm_num_groups"] = config.NormNumGroups,
        ["out_channels"] = config.OutChannels,
        ["sample_size"] = config.SampleSize,
        ["scaling_factor"] = config.ScalingFactor,
        ["up_block_types"] = List(Repeat("UpDecoderBlock2D", config.BlockOutChannels.Length)),
        ["use_post_quant_conv"] = config.UsePostQuantConv,
        ["use_quant_conv"] = config.UseQuantConv,
    };

    public static JsonObject Of(ClipTextConfig config) => new()
    {
        ["architectures"] = List(config.WithProjection ? "CLIPTextModelWithProjection" : "CLIPTextModel"),
        ["bos_token_id"] = 0,
        ["eos_token_id"] = config.EosTokenId,
        ["hidden_act"] = config.HiddenAct == Activation.Gelu ? "gelu" : "quick_gelu",
        ["hidden_size"] = config.HiddenSize,
        ["intermediate_size"] = config.IntermediateSize,
        ["layer_norm_eps"] = Short(config.LayerNormEps),
        ["max_position_embeddings"] = config.MaxPositionEmbeddings,
        ["model_type"] = "clip_text_model",
        ["num_attention_heads"] = config.NumAttentionHeads,
        ["num_hidden_layers"] = config.NumHiddenLayers,
        ["pad_token_id"] = 1,
        ["projection_dim"] = config.ProjectionDim,
        ["vocab_size"] = config.VocabSize,
    };

    private static JsonNode Depths(ImmutableArray<ImmutableArray<int>> depths) => depths.All(level => level.Distinct().Count() == 1)
        ? OneOrAll([.. depths.Select(level => level[0])])
        : new JsonArray([.. depths.Select(level => (JsonNode)List(level))]);

    private static JsonNode OneOrAll(ImmutableArray<int> values) => values.Distinct().Count() == 1 ? values[0] : List(values);

    private static JsonArray List(ImmutableArray<int> values) => new([.. values.Select(value => (JsonNode)value)]);

    private static JsonArray List(params ImmutableArray<string> values) => new([.. values.Select(value => (JsonNode)value)]);

    private static ImmutableArray<T> Repeat<T>(T value, int count) => [.. Enumerable.Repeat(value, count)];

    /// <summary>A float32 as the number somebody wrote down: 1e-5, not 9.999999747378752e-06.</summary>
    private static double Short(float value) => double.Parse(value.ToString("R", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture);
}
