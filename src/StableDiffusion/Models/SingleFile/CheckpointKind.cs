using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>The families that single files are told apart by.</summary>
public enum ModelFamily
{
    /// <summary>SD 1.x: CLIP ViT-L/14.</summary>
    StableDiffusion1,

    /// <summary>SD 2.x: OpenCLIP ViT-H/14.</summary>
    StableDiffusion2,

    /// <summary>SDXL: CLIP ViT-L/14 and OpenCLIP ViT-bigG/14.</summary>
    StableDiffusionXL,

    /// <summary>SDXL's refiner: OpenCLIP ViT-bigG/14 alone.</summary>
    StableDiffusionXLRefiner,
}

/// <summary>A text encoder in a single file.</summary>
/// <param name="Component">What diffusers calls it.</param>
/// <param name="Prefix">What its tensors' names begin with.</param>
/// <param name="IsOpenClip">Whether they are named as OpenCLIP does, not as transformers does.</param>
internal sealed record StoredTextEncoder(string Component, string Prefix, bool IsOpenClip);

/// <summary>What a single file holds, told from the names and shapes of its tensors.</summary>
/// <param name="Family">Its family.</param>
/// <param name="InChannels">Channels that its UNet takes: 4, or 9 for inpainting, 8 for instructions, 5 for depth.</param>
/// <param name="UnetPrefix">What the names of its UNet begin with.</param>
/// <param name="VaePrefix">What those of its VAE begin with; null where it has none.</param>
/// <param name="TextEncoders">Its text encoders.</param>
internal sealed record CheckpointKind(ModelFamily Family, int InChannels, string UnetPrefix, string? VaePrefix, IReadOnlyList<StoredTextEncoder> TextEncoders)
{
    private const string FirstConvolution = "input_blocks.0.0.weight";
    private static readonly string[] UnetPrefixes = ["model.diffusion_model.", "diffusion_model.", ""];
    private static readonly string[] VaePrefixes = ["first_stage_model.", "vae."];

    /// <summary>Tells what a file is.</summary>
    /// <exception cref="NotSupportedException">It is of another family; names it.</exception>
    public static CheckpointKind Find(IWeightSource source)
    {
        IReadOnlyList<string> names = source.Names ?? [];
        if (ForeignFamily.Find(names) is { } foreign)
        {
            throw ForeignFamily.Refusal(source.Location, foreign);
        }
        string prefix = UnetPrefixes.FirstOrDefault(prefix => source.Find(prefix + FirstConvolution, []) is not null)
            ?? throw ForeignFamily.Refusal(source.Location, ForeignFamily.FindPart(names)
                ?? $"no model that is known ({names.Count} tensors: {string.Join(", ", names.Take(3).Select(SafetensorsHeader.Quote))}{(names.Count > 3 ? ", ..." : "")})");
        var unet = new StoredShapes(source, prefix);
        int channels = unet.Size($"{FirstConvolution}", 1);
        if (channels == 7)
        {
            throw ForeignFamily.Refusal(source.Location, "the Stable Diffusion x4 upscaler");
        }
        List<StoredTextEncoder> encoders = [.. Encoders(source)];
        ModelFamily family = FamilyOf(source, names, prefix, encoders);
        if (family is ModelFamily.StableDiffusion1 or ModelFamily.StableDiffusion2 && unet.Has($"label_emb.0.0.weight"))
        {
            throw ForeignFamily.Refusal(source.Location, "a model that is conditioned on pictures (Stable unCLIP)");
        }
        string? vae = VaePrefixes.FirstOrDefault(vae => source.Find(vae + "decoder.conv_in.weight", []) is not null);
        return new CheckpointKind(family, channels, prefix, vae, [.. encoders.Where(encoder => IsOf(family, encoder))]);
    }

    /// <summary>The family in words.</summary>
    public string Title => Family switch
    {
        ModelFamily.StableDiffusion1 => "Stable Diffusion 1.x",
        ModelFamily.StableDiffusion2 => "Stable Diffusion 2.x",
        ModelFamily.StableDiffusionXL => "Stable Diffusion XL",
        _ => "Stable Diffusion XL refiner",
    };

    /// <summary>The text encoders that the family needs.</summary>
    public IReadOnlyList<string> NeededTextEncoders => Family switch
    {
        ModelFamily.StableDiffusionXL => ["text_encoder", "text_encoder_2"],
        ModelFamily.StableDiffusionXLRefiner => ["text_encoder_2"],
        _ => ["text_encoder"],
    };

    private static IEnumerable<StoredTextEncoder> Encoders(IWeightSource source)
    {
        (string Prefix, string Component)[] openClip =
        [
            ("cond_stage_model.model.", "text_encoder"), ("conditioner.embedders.1.model.", "text_encoder_2"), ("conditioner.embedders.0.model.", "text_encoder_2"),
        ];
        foreach (string prefix in (string[])["cond_stage_model.transformer.", "conditioner.embedders.0.transformer.", "cond_stage_model."])
        {
            if (source.Find(prefix + "text_model.embeddings.token_embedding.weight", []) is not null || source.Find(prefix + "embeddings.token_embedding.weight", []) is not null)
            {
                yield return new StoredTextEncoder("text_encoder", prefix, IsOpenClip: false);
            }
        }
        foreach ((string prefix, string component) in openClip)
        {
            if (source.Find(prefix + "token_embedding.weight", []) is not null)
            {
                yield return new StoredTextEncoder(component, prefix, IsOpenClip: true);
            }
        }
    }

    /// <summary>By the text encoders, which differ in name; a UNet without any by the width of its context.</summary>
    private static ModelFamily FamilyOf(IWeightSource source, IReadOnlyList<string> names, string prefix, List<StoredTextEncoder> encoders)
    {
        const int ContextOfSD2 = 1024, ContextOfRefiner = 1280;
        bool Stores(string start) => encoders.Any(encoder => encoder.Prefix == start);
        if (source.Find(prefix + "label_emb.0.0.weight", []) is not null && !Stores("cond_stage_model.model.") && !Stores("cond_stage_model.transformer."))
        {
            return Stores("conditioner.embedders.0.model.") || Context() == ContextOfRefiner ? ModelFamily.StableDiffusionXLRefiner : ModelFamily.StableDiffusionXL;
        }
        return Stores("cond_stage_model.model.") || Context() == ContextOfSD2 ? ModelFamily.StableDiffusion2 : ModelFamily.StableDiffusion1;

        long Context() => names.FirstOrDefault(name => name.StartsWith(prefix, StringComparison.Ordinal) && name.EndsWith(".attn2.to_k.weight", StringComparison.Ordinal)) is { } key
            && source.Find(key, []) is { Shape.Length: 2 } info ? info.Shape[1] : 0;
    }

    private static bool IsOf(ModelFamily family, StoredTextEncoder encoder) => family switch
    {
        ModelFamily.StableDiffusion1 => encoder.Component == "text_encoder" && !encoder.IsOpenClip,
        ModelFamily.StableDiffusion2 => encoder.Component == "text_encoder" && encoder.IsOpenClip,
        ModelFamily.StableDiffusionXL => true,
        _ => encoder.IsOpenClip,
    };
}
