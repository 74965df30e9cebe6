using System.Globalization;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>The text encoders' names.</summary>
internal static class ClipKeys
{
    private static readonly string[] Modules = ["embeddings", "encoder", "final_layer_norm"];

    /// <summary>OpenAI's CLIP (SD 1.x, SDXL's first encoder), which original files name as transformers does, some without its outer module.</summary>
    public static KeyMap HuggingFace() => new(
    [
        new KeyPair("text_model", "text_model"),
        new KeyPair("text_projection", "text_projection"),
        .. Modules.Select(module => new KeyPair(module, $"text_model.{module}", Direction: KeyDirection.FromOriginal)),
        .. Modules.Select(module => new KeyPair($"text_model.{module}", module, Direction: KeyDirection.ToOriginal)),
    ]);

    /// <summary>
    /// OpenCLIP (SD 2.x, SDXL's second encoder; github.com/mlfoundations/open_clip): query, key and value are one matrix, and the projection is
    /// stored as its transpose.
    /// </summary>
    /// <param name="layers">How many layers the model has; SD 2.x leaves the last one of its files out.</param>
    public static KeyMap OpenClip(int layers) => new(WithoutOuterModule(
    [
        new KeyPair("token_embedding", "text_model.embeddings.token_embedding"),
        new KeyPair("positional_embedding", "text_model.embeddings.position_embedding.weight"),
        new KeyPair("ln_final", "text_model.final_layer_norm"),
        new KeyPair("text_projection", "text_projection.weight", Change: TensorChange.Transpose),
        // Some conversions of SDXL files have it as a linear layer.
        new KeyPair("text_projection.weight", "text_projection.weight", Direction: KeyDirection.FromOriginal),
        .. Enumerable.Range(0, layers).SelectMany(Layer),
    ]));

    private static IEnumerable<KeyPair> Layer(int index)
    {
        string original = string.Create(CultureInfo.InvariantCulture, $"transformer.resblocks.{index}");
        string diffusers = string.Create(CultureInfo.InvariantCulture, $"text_model.encoder.layers.{index}");
        List<KeyPair> pairs =
        [
            new($"{original}.ln_1", $"{diffusers}.layer_norm1"),
            new($"{original}.ln_2", $"{diffusers}.layer_norm2"),
            new($"{original}.mlp.c_fc", $"{diffusers}.mlp.fc1"),
            new($"{original}.mlp.c_proj", $"{diffusers}.mlp.fc2"),
            new($"{original}.attn.out_proj", $"{diffusers}.self_attn.out_proj"),
        ];
        string[] projections = ["q_proj", "k_proj", "v_proj"];
        for (int part = 0; part < projections.Length; part++)
        {
            pairs.Add(new($"{original}.attn.in_proj_weight", $"{diffusers}.self_attn.{projections[part]}.weight", part, projections.Length));
            pairs.Add(new($"{original}.attn.in_proj_bias", $"{diffusers}.self_attn.{projections[part]}.bias", part, projections.Length));
        }
        return pairs;
    }

    /// <summary>Adds the names of transformers from 5.6 on, which leaves the outer module out.</summary>
    private static IEnumerable<KeyPair> WithoutOuterModule(IEnumerable<KeyPair> pairs)
    {
        const string Outer = "text_model.";
        foreach (KeyPair pair in pairs)
        {
            yield return pair;
            if (pair.Diffusers.StartsWith(Outer, StringComparison.Ordinal))
            {
                yield return pair with { Diffusers = pair.Diffusers[Outer.Length..], Direction = KeyDirection.ToOriginal };
            }
        }
    }
}
