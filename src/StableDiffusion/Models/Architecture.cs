using System.Collections.Immutable;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Models;

/// <summary>
/// The published shape of a model family, without its weights: for measuring it with <see cref="Weights.RandomWeightSource"/>, and as an
/// example of what a folder's configs amount to. Running a model needs none of this: its folder says everything.
/// </summary>
/// <param name="Name">Short name, as the command line takes it.</param>
/// <param name="Title">Full name.</param>
/// <param name="Unet">The denoising network.</param>
/// <param name="Vae">The autoencoder.</param>
/// <param name="TextEncoders">One text encoder, or two whose hidden states are joined on the channel axis.</param>
public sealed record Architecture(string Name, string Title, UnetConfig Unet, VaeConfig Vae, ImmutableArray<ClipTextConfig> TextEncoders)
{
    /// <summary>The autoencoder of SD 1.x, and of SD 2.x in all but the size it was trained on.</summary>
    private static readonly VaeConfig StableDiffusionVae = new()
    {
        BlockOutChannels = [128, 256, 512, 512],
        LayersPerBlock = 2,
        SampleSize = 512,
    };

    /// <summary>OpenAI's CLIP ViT-L/14.</summary>
    private static readonly ClipTextConfig ClipLarge = new()
    {
        HiddenSize = 768,
        IntermediateSize = 3072,
        ProjectionDim = 768,
        NumHiddenLayers = 12,
        NumAttentionHeads = 12,
        HiddenAct = Activation.QuickGelu,
        EosTokenId = 2,
    };

    /// <summary>SD 1.5. Mirrors huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/tree/main.</summary>
    public static Architecture StableDiffusion15 { get; } = new(
        "sd15",
        "Stable Diffusion 1.5",
        new UnetConfig { SampleSize = (64, 64), CrossAttentionDim = [768, 768, 768, 768] },
        StableDiffusionVae,
        [ClipLarge]);

    /// <summary>SD 2.1 for 768 pixels, whose text encoder is OpenCLIP ViT-H/14 without its last layer. Mirrors huggingface.co/stabilityai/stable-diffusion-2-1/tree/main.</summary>
    public static Architecture StableDiffusion21 { get; } = new(
        "sd21",
        "Stable Diffusion 2.1",
        new UnetConfig
        {
            SampleSize = (96, 96),
            CrossAttentionDim = [1024, 1024, 1024, 1024],
            NumAttentionHeads = [5, 10, 20, 20],
            UseLinearProjection = true,
            UpcastAttention = true,
        },
        StableDiffusionVae with { SampleSize = 768 },
        [
            new ClipTextConfig
            {
                HiddenSize = 1024,
                IntermediateSize = 4096,
                NumHiddenLayers = 23,
                NumAttentionHeads = 16,
                HiddenAct = Activation.Gelu,
                EosTokenId = 2,
            },
        ]);

    /// <summary>SDXL base, whose second text encoder is OpenCLIP ViT-bigG/14. Mirrors huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/tree/main.</summary>
    public static Architecture StableDiffusionXL { get; } = new(
        "sdxl",
        "Stable Diffusion XL",
        new UnetConfig
        {
            SampleSize = (128, 128),
            BlockOutChannels = [320, 640, 1280],
            DownBlockTypes = [UnetConfig.DownBlock, UnetConfig.CrossAttnDownBlock, UnetConfig.CrossAttnDownBlock],
            UpBlockTypes = [UnetConfig.CrossAttnUpBlock, UnetConfig.CrossAttnUpBlock, UnetConfig.UpBlock],
            LayersPerBlock = [2, 2, 2],
            TransformerLayersPerBlock = [[1, 1], [2, 2], [10, 10]],
            UpTransformerLayersPerBlock = [[10, 10, 10], [2, 2, 2], [1, 1, 1]],
            NumAttentionHeads = [5, 10, 20],
            CrossAttentionDim = [2048, 2048, 2048],
            UseLinearProjection = true,
            AddTextTime = true,
            AdditionTimeEmbedDim = 256,
            ProjectionClassEmbeddingsInputDim = 2816,
        },
        StableDiffusionVae with { SampleSize = 1024, ScalingFactor = 0.13025 },
        [
            ClipLarge,
            new ClipTextConfig
            {
                HiddenSize = 1280,
                IntermediateSize = 5120,
                ProjectionDim = 1280,
                NumHiddenLayers = 32,
                NumAttentionHeads = 20,
                HiddenAct = Activation.Gelu,
                EosTokenId = 2,
                WithProjection = true,
            },
        ]);

    /// <summary>SDXL's refiner, which finishes what the base began. Mirrors huggingface.co/stabilityai/stable-diffusion-xl-refiner-1.0/tree/main.</summary>
    public static Architecture StableDiffusionXLRefiner { get; } = new(
        "sdxl-refiner",
        "Stable Diffusion XL refiner",
        new UnetConfig
        {
            SampleSize = (128, 128),
            BlockOutChannels = [384, 768, 1536, 1536],
            DownBlockTypes = [UnetConfig.DownBlock, UnetConfig.CrossAttnDownBlock, UnetConfig.CrossAttnDownBlock, UnetConfig.DownBlock],
            UpBlockTypes = [UnetConfig.UpBlock, UnetConfig.CrossAttnUpBlock, UnetConfig.CrossAttnUpBlock, UnetConfig.UpBlock],
            TransformerLayersPerBlock = [[4, 4], [4, 4], [4, 4], [4, 4]],
            UpTransformerLayersPerBlock = [[4, 4, 4], [4, 4, 4], [4, 4, 4], [4, 4, 4]],
            NumAttentionHeads = [6, 12, 24, 24],
            CrossAttentionDim = [1280, 1280, 1280, 1280],
            UseLinearProjection = true,
            AddTextTime = true,
            AdditionTimeEmbedDim = 256,
            ProjectionClassEmbeddingsInputDim = 2560,
        },
        StableDiffusionXL.Vae,
        [StableDiffusionXL.TextEncoders[1]]);

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Architecture> All { get; } = [StableDiffusion15, StableDiffusion21, StableDiffusionXL, StableDiffusionXLRefiner];

    /// <summary>The one of a short name.</summary>
    /// <exception cref="ArgumentException">There is none; the text lists all.</exception>
    public static Architecture Find(string name) => All.FirstOrDefault(architecture => architecture.Name == name)
        ?? throw new ArgumentException($"There is no architecture '{name}', only {string.Join(", ", All.Select(architecture => architecture.Name))}.", nameof(name));
}
