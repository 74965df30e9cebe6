using System.Runtime.InteropServices;
using StableDiffusion.Models.SingleFile;
using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models.SingleFile;

/// <summary>Files of other families are named, and the probe tells what an SD 2 model predicts.</summary>
public sealed class CheckpointKindTests
{
    // Names of tensors as diffusers' single_file_utils.py and the adapters' own code list them.
    [TestCase("model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias", "a Stable Diffusion 3 checkpoint")]
    [TestCase("double_blocks.0.img_attn.norm.key_norm.scale", "a Flux checkpoint")]
    [TestCase("single_stream_modulation.lin.weight", "a Flux.2 checkpoint")]
    [TestCase("double_layers.0.attn.w2q.weight", "an AuraFlow checkpoint")]
    [TestCase("adaln_single.emb.timestep_embedder.linear_1.weight", "a PixArt or Sana checkpoint")]
    [TestCase("encoder_hid_proj.image_embeds.weight", "a Kandinsky")]
    [TestCase("clip_txt_mapper.weight", "Stable Cascade")]
    [TestCase("edm_mean", "Playground v2.5")]
    [TestCase("model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight", "a video model")]
    [TestCase("down_blocks.0.motion_modules.0.temporal_transformer.norm.bias", "a video model")]
    [TestCase("control_model.time_embed.0.weight", "a ControlNet")]
    [TestCase("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "a LoRA")]
    [TestCase("unet.down_blocks.0.attentions.0.attn1.to_q.lora_A.weight", "a LoRA")]
    [TestCase("emb_params", "a textual inversion")]
    [TestCase("clip_g", "a textual inversion")]
    [TestCase("decoder.mid.block_1.norm1.weight", "a VAE alone")]
    [TestCase("decoder.layers.0.weight", "TAESD")]
    [TestCase("text_model.embeddings.token_embedding.weight", "a text encoder alone")]
    [TestCase("patchify_proj.weight", "LTX-Video")]
    [TestCase("something.else", "no model that is known (1 tensors: 'something.else')")]
    public void Find_OtherFamilies_AreNamed(string tensor, string expected) =>
        Assert.That(() => CheckpointKind.Find(new NamesOnlySource([new(tensor, [4, 4])])),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("'names.safetensors' is ").And.Message.Contains(expected)
                .And.Message.Contains("draws with SD 1.x, 2.x and SDXL"));

    [Test]
    public void Find_DiffusersUnetAlone_SaysWhereItBelongs() =>
        Assert.That(() => CheckpointKind.Find(new NamesOnlySource([new("down_blocks.0.resnets.0.conv1.weight", [4, 4, 3, 3]), new("time_embedding.linear_1.weight", [4, 4])])),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("a UNet alone").And.Message.Contains("unet/"));

    [Test]
    public void Find_SevenChannels_IsTheUpscaler() =>
        Assert.That(() => CheckpointKind.Find(new NamesOnlySource([new("model.diffusion_model.input_blocks.0.0.weight", [320, 7, 3, 3])])),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("x4 upscaler"));

    [Test]
    public void Open_Gguf_IsNamed()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["model.gguf"], [.. "GGUF"u8, 3, 0, 0, 0]);

        Assert.That(() => ModelSource.Open(folder["model.gguf"]), Throws.TypeOf<NotSupportedException>().With.Message.Contains("GGUF"));
    }

    [Test]
    public void Open_TruncatedFile_IsRefused()
    {
        using var folder = new TemporaryFolder();
        byte[] whole = File.ReadAllBytes(Fixtures.PathOf("models", "sd1", "vae", "diffusion_pytorch_model.safetensors"));
        File.WriteAllBytes(folder["model.safetensors"], whole[..(whole.Length / 2)]);

        Assert.That(() => ModelSource.Open(folder["model.safetensors"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("truncated"));
    }

    // The last convolution's bias alone decides what a UNet of zeros answers, and the probe's input is 0.5: -1 - 0.5 is below the threshold of -1,
    // -0.4 - 0.5 and 0.5 - 0.5 are above.
    [TestCase(-1f, PredictionType.VPrediction)]
    [TestCase(-0.4f, PredictionType.Epsilon)]
    [TestCase(0.5f, PredictionType.Epsilon)]
    [TestCase(float.NaN, PredictionType.Epsilon)]
    public void Ask_UnetThatAnswersAConstant_GoesByItsMean(float answer, PredictionType expected)
    {
        using Device device = Device.Open("cpu");
        var config = new UnetConfig
        {
            BlockOutChannels = [32, 32, 32, 32],
            LayersPerBlock = [1, 1, 1, 1],
            TransformerLayersPerBlock = [[1], [1], [1], [1]],
            UpTransformerLayersPerBlock = [[1, 1], [1, 1], [1, 1], [1, 1]],
            CrossAttentionDim = [32, 32, 32, 32],
        };
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(config, new ZerosBut("conv_out.bias", answer), device);

        Assert.That(PredictionProbe.Ask(unet, device), Is.EqualTo(expected));
    }

    /// <summary>Zeros, but for one tensor.</summary>
    private sealed class ZerosBut(string exception, float value) : IWeightSource
    {
        public string Location => "zeros";

        public IReadOnlyList<string>? Names => null;

        public WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape) => new(WeightDType.Float32, [.. expectedShape]);

        public void Read(string name, WeightInfo info, Span<byte> destination) => MemoryMarshal.Cast<byte, float>(destination).Fill(name == exception ? value : 0);

        public string Describe(string name) => Location;

        public void Dispose()
        {
        }
    }
}
