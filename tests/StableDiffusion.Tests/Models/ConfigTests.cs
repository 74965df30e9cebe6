using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Models;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Models;

/// <summary>config.json: what published files say comes out as the published architecture, and what is not supported is refused by name.</summary>
public class ConfigTests
{
    // The keys of the published unet/config.json of each family that say something about the network.
    private const string Unet15 = """
        {"_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
         "center_input_sample": false, "cross_attention_dim": 768, "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
         "CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4,
         "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
         "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]}
        """;

    private const string Unet21 = """
        {"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "dual_cross_attention": false, "num_class_embeds": null,
         "only_cross_attention": false, "sample_size": 96, "upcast_attention": true, "use_linear_projection": true}
        """;

    private const string UnetXL = """
        {"addition_embed_type": "text_time", "addition_embed_type_num_heads": 64, "addition_time_embed_dim": 256,
         "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280], "class_embed_type": null, "class_embeddings_concat": false,
         "cross_attention_dim": 2048, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
         "encoder_hid_dim": null, "mid_block_only_cross_attention": null, "mid_block_type": "UNetMidBlock2DCrossAttn",
         "num_attention_heads": null, "projection_class_embeddings_input_dim": 2816, "resnet_out_scale_factor": 1.0, "sample_size": 128,
         "time_embedding_type": "positional", "transformer_layers_per_block": [1, 2, 10], "upcast_attention": null,
         "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "use_linear_projection": true}
        """;

    private const string Vae = """
        {"_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D",
         "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
         "norm_num_groups": 32, "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D",
         "UpDecoderBlock2D", "UpDecoderBlock2D"]}
        """;

    private const string ClipG = """
        {"architectures": ["CLIPTextModelWithProjection"], "eos_token_id": 2, "hidden_act": "gelu", "hidden_size": 1280,
         "intermediate_size": 5120, "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model",
         "num_attention_heads": 20, "num_hidden_layers": 32, "projection_dim": 1280, "vocab_size": 49408}
        """;

    [TestCase(Unet15, "sd15")]
    [TestCase(Unet21, "sd21")]
    [TestCase(UnetXL, "sdxl")]
    public void UnetConfig_PublishedConfig_IsTheArchitecture(string json, string architecture) =>
        Assert.That(Show(Read(json, UnetConfig.Read)), Is.EqualTo(Show(Architecture.Find(architecture).Unet)));

    [Test]
    public void VaeConfig_PublishedConfig_IsTheArchitecture() =>
        Assert.That(Show(Read(Vae, VaeConfig.Read)), Is.EqualTo(Show(Architecture.StableDiffusion15.Vae)));

    [Test]
    public void ClipTextConfig_PublishedConfig_IsTheArchitecture() =>
        Assert.That(Show(Read(ClipG, ClipTextConfig.Read)), Is.EqualTo(Show(Architecture.StableDiffusionXL.TextEncoders[1])));

    [Test]
    public void UnetConfig_UnequalLayersPerBlock_AreReadPerLayer()
    {
        UnetConfig config = Read("""
            {"layers_per_block": [1, 2, 1, 1], "transformer_layers_per_block": [1, [2, 3], 4, 0], "num_attention_heads": 4,
             "reverse_transformer_layers_per_block": [[0, 0], 4, [3, 2, 1], 1], "sample_size": [32, 48]}
            """, UnetConfig.Read);
        Assert.Multiple(() =>
        {
            Assert.That(config.TransformerLayersPerBlock, Is.EqualTo(new int[][] { [1], [2, 3], [4], [0] }));
            Assert.That(config.UpTransformerLayersPerBlock, Is.EqualTo(new int[][] { [0, 0], [4, 4], [3, 2, 1], [1, 1] }));
            Assert.That(config.NumAttentionHeads, Is.EqualTo(new[] { 4, 4, 4, 4 }));
            Assert.That(config.SampleSize, Is.EqualTo((32, 48)));
        });
    }

    [TestCase("class_embed_type", "\"timestep\"")]
    [TestCase("num_class_embeds", "1000")]
    [TestCase("class_embeddings_concat", "true")]
    [TestCase("addition_embed_type", "\"text\"")]
    [TestCase("encoder_hid_dim_type", "\"text_proj\"")]
    [TestCase("only_cross_attention", "[false, true, false, false]")]
    [TestCase("dual_cross_attention", "true")]
    [TestCase("center_input_sample", "true")]
    [TestCase("resnet_time_scale_shift", "\"scale_shift\"")]
    [TestCase("mid_block_type", "\"UNetMidBlock2DSimpleCrossAttn\"")]
    [TestCase("mid_block_type", "null")]
    [TestCase("norm_num_groups", "null")]
    [TestCase("norm_num_groups", "7")]
    [TestCase("mid_block_scale_factor", "2")]
    [TestCase("resnet_out_scale_factor", "0.5")]
    [TestCase("time_embedding_type", "\"fourier\"")]
    [TestCase("attention_type", "\"gated\"")]
    [TestCase("act_fn", "\"gelu\"")]
    [TestCase("down_block_types", "[\"CrossAttnDownBlock2D\", \"AttnDownBlock2D\", \"DownBlock2D\", \"DownBlock2D\"]")]
    [TestCase("up_block_types", "[\"UpBlock2D\"]")]
    [TestCase("attention_head_dim", "[5, 10, 20]")]
    [TestCase("attention_head_dim", "2000")]
    [TestCase("transformer_layers_per_block", "[1, [1, 2], 1, 1]")]
    [TestCase("transformer_layers_per_block", "[[1, 1, 1], 1, 1, 1]")]
    [TestCase("transformer_layers_per_block", "-1")]
    [TestCase("block_out_channels", "[]")]
    [TestCase("block_out_channels", "[320, 0, 1280, 1280]")]
    [TestCase("in_channels", "\"four\"")]
    [TestCase("in_channels", "1e99")]
    [TestCase("norm_eps", "true")]
    [TestCase("flip_sin_to_cos", "1")]
    [TestCase("conv_in_kernel", "2")]
    [TestCase("downsample_padding", "2")]
    [TestCase("sample_size", "[64, 64, 64]")]
    public void UnetConfig_BadValue_IsRefusedNamingFileAndKey(string key, string value) => AssertRefused(Unet15, key, value, UnetConfig.Read);

    [Test]
    public void UnetConfig_TextTimeWithoutItsWidths_IsRefused() => AssertRefused(Unet15, "addition_embed_type", "\"text_time\"", UnetConfig.Read);

    [TestCase("down_block_types", "[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"AttnDownEncoderBlock2D\"]")]
    [TestCase("up_block_types", "[\"UpDecoderBlock2D\"]")]
    [TestCase("shift_factor", "0.1159")]
    [TestCase("latents_mean", "[0.1, 0.2, 0.3, 0.4]")]
    [TestCase("scaling_factor", "0")]
    [TestCase("norm_num_groups", "5")]
    [TestCase("act_fn", "\"relu\"")]
    public void VaeConfig_BadValue_IsRefusedNamingFileAndKey(string key, string value) => AssertRefused(Vae, key, value, VaeConfig.Read);

    [TestCase("hidden_act", "\"gelu_new\"")]
    [TestCase("num_attention_heads", "7")]
    [TestCase("vocab_size", "0")]
    [TestCase("eos_token_id", "-1")]
    public void ClipTextConfig_BadValue_IsRefusedNamingFileAndKey(string key, string value) => AssertRefused(ClipG, key, value, ClipTextConfig.Read);

    [TestCase("{", "cannot be read")]
    [TestCase("[1]", "is not a JSON object")]
    public void Read_MalformedFile_NamesIt(string text, string reason) => Assert.That(
        () => Read(text, VaeConfig.Read), Throws.TypeOf<InvalidConfigException>().With.Message.Contains("config.json").And.Message.Contains(reason));

    [Test]
    public void Load_FolderWithoutConfig_NamesTheFile()
    {
        using var folder = new TemporaryFolder();
        using var device = Device.Open("cpu", threads: 1);
        Assert.That(() => UNet2DConditionModel.Load(folder.Path, device),
            Throws.TypeOf<InvalidConfigException>().With.Message.Contains(folder["config.json"]).And.Message.Contains("no such file"));
    }

    private static void AssertRefused<TConfig>(string json, string key, string value, Func<string, TConfig> read)
    {
        JsonObject config = JsonNode.Parse(json)!.AsObject();
        config[key] = JsonNode.Parse(value);
        Assert.That(() => Read(config.ToJsonString(), read),
            Throws.TypeOf<InvalidConfigException>().With.Message.Contains("config.json").And.Message.Contains($"\"{key}\"").And.Message.EndsWith("."));
    }

    private static TConfig Read<TConfig>(string json, Func<string, TConfig> read)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["config.json"], json);
        return read(folder.Path);
    }

    /// <summary>Records compare lists by identity; their text compares all they say.</summary>
    private static string Show<TConfig>(TConfig config) => JsonSerializer.Serialize(config, new JsonSerializerOptions { IncludeFields = true, WriteIndented = true });
}
