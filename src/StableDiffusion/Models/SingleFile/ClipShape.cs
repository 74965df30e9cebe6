using StableDiffusion.Models.Clip;
using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>Works the configuration of a text encoder out from names and shapes.</summary>
internal static class ClipShape
{
    /// <summary>Channels of a head in every CLIP text encoder.</summary>
    private const int HeadChannels = 64;

    /// <summary>Old configs say 2 for the end token, which means the place of the highest id: right for any vocabulary of CLIP's kind.</summary>
    private const int HighestId = 2;

    /// <summary>Layers of OpenCLIP ViT-H/14, whose last one SD 2.x does not use: it was trained on the states before it.</summary>
    private const int LayersOfViTH = 24;

    /// <summary>OpenAI's CLIP, named as in transformers.</summary>
    public static ClipTextConfig HuggingFace(StoredShapes shapes)
    {
        string root = shapes.Has($"text_model.embeddings.token_embedding.weight") ? "text_model." : "";
        int channels = shapes.Size($"{root}embeddings.token_embedding.weight", 1);
        return new ClipTextConfig
        {
            VocabSize = shapes.Size($"{root}embeddings.token_embedding.weight", 0),
            HiddenSize = channels,
            IntermediateSize = shapes.Size($"{root}encoder.layers.0.mlp.fc1.weight", 0),
            ProjectionDim = channels,
            NumHiddenLayers = shapes.Count(layer => $"{root}encoder.layers.{layer}.layer_norm1.weight"),
            NumAttentionHeads = Math.Max(1, channels / HeadChannels),
            MaxPositionEmbeddings = shapes.Size($"{root}embeddings.position_embedding.weight", 0),
            HiddenAct = Activation.QuickGelu,
            EosTokenId = HighestId,
        };
    }

    /// <summary>OpenCLIP.</summary>
    /// <param name="shapes">The file's.</param>
    /// <param name="withProjection">SDXL: the pooled text is used, and all layers are kept. SD 2.x: neither.</param>
    public static ClipTextConfig OpenClip(StoredShapes shapes, bool withProjection)
    {
        int channels = shapes.Size($"token_embedding.weight", 1);
        int layers = shapes.Count(layer => $"transformer.resblocks.{layer}.ln_1.weight");
        return new ClipTextConfig
        {
            VocabSize = shapes.Size($"token_embedding.weight", 0),
            HiddenSize = channels,
            IntermediateSize = shapes.Size($"transformer.resblocks.0.mlp.c_fc.weight", 0),
            // SD 2.x has no use for it; its published config says 512.
            ProjectionDim = !withProjection ? 512 : shapes.Has($"text_projection.weight") ? shapes.Size($"text_projection.weight", 0) : shapes.Size($"text_projection", 1),
            NumHiddenLayers = !withProjection && layers == LayersOfViTH ? layers - 1 : layers,
            NumAttentionHeads = Math.Max(1, channels / HeadChannels),
            MaxPositionEmbeddings = shapes.Size($"positional_embedding", 0),
            HiddenAct = Activation.Gelu,
            EosTokenId = HighestId,
            WithProjection = withProjection,
        };
    }
}
