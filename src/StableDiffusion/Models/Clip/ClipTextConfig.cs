using StableDiffusion.Native;

namespace StableDiffusion.Models.Clip;

/// <summary>
/// The facts of a CLIP text encoder, with the defaults of transformers' <c>CLIPTextConfig</c>. Mirrors <c>text_encoder/config.json</c>,
/// for instance huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/text_encoder/config.json.
/// </summary>
public sealed record ClipTextConfig
{
    /// <summary>Number of token ids.</summary>
    public int VocabSize { get; init; } = 49408;

    /// <summary>Channels of the hidden states.</summary>
    public int HiddenSize { get; init; } = 512;

    /// <summary>Channels inside the MLP.</summary>
    public int IntermediateSize { get; init; } = 2048;

    /// <summary>Channels of the text embedding, where there is one.</summary>
    public int ProjectionDim { get; init; } = 512;

    /// <summary>Number of layers.</summary>
    public int NumHiddenLayers { get; init; } = 12;

    /// <summary>Attention heads.</summary>
    public int NumAttentionHeads { get; init; } = 8;

    /// <summary>Longest prompt, in tokens.</summary>
    public int MaxPositionEmbeddings { get; init; } = 77;

    /// <summary>Activation of the MLP, <c>hidden_act</c>: <see cref="Activation.QuickGelu"/> or <see cref="Activation.Gelu"/> (erf form).</summary>
    public Activation HiddenAct { get; init; } = Activation.QuickGelu;

    /// <summary>Epsilon of the layer norms.</summary>
    public float LayerNormEps { get; init; } = 1e-5f;

    /// <summary>
    /// Id of the end token, whose first place is pooled. Configs written before transformers 4.30 say 2 whatever the vocabulary; the place of
    /// the highest id is meant then, which is the first end token in CLIP's vocabulary.
    /// </summary>
    public int EosTokenId { get; init; } = 49407;

    /// <summary>Whether there is a <c>text_projection</c>: the architecture is <c>CLIPTextModelWithProjection</c>.</summary>
    public bool WithProjection { get; init; }

    /// <summary>Reads <c>config.json</c> in the component's folder.</summary>
    /// <exception cref="InvalidConfigException">It is missing, malformed or asks for something that is not supported.</exception>
    public static ClipTextConfig Read(string folder) => Read(ConfigReader.Open(folder));

    /// <summary>Reads a configuration that is open.</summary>
    /// <inheritdoc cref="Read(string)"/>
    internal static ClipTextConfig Read(ConfigReader config)
    {
        config.RequireOneOf("hidden_act", "quick_gelu", "gelu");
        int hiddenSize = config.Int("hidden_size", 512), heads = config.Int("num_attention_heads", 8);
        if (hiddenSize % heads != 0)
        {
            throw config.Bad("num_attention_heads", $"must divide \"hidden_size\", {hiddenSize}");
        }
        return new ClipTextConfig
        {
            VocabSize = config.Int("vocab_size", 49408),
            HiddenSize = hiddenSize,
            IntermediateSize = config.Int("intermediate_size", 2048),
            ProjectionDim = config.Int("projection_dim", 512),
            NumHiddenLayers = config.Int("num_hidden_layers", 12),
            NumAttentionHeads = heads,
            MaxPositionEmbeddings = config.Int("max_position_embeddings", 77),
            HiddenAct = config.Text("hidden_act") == "gelu" ? Activation.Gelu : Activation.QuickGelu,
            LayerNormEps = (float)config.Number("layer_norm_eps", 1e-5),
            EosTokenId = config.Int("eos_token_id", 49407, minimum: 0),
            WithProjection = config.Texts("architectures", []).Contains("CLIPTextModelWithProjection"),
        };
    }
}
