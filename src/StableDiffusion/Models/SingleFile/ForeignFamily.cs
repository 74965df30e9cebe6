using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>What weights files hold that is no Stable Diffusion checkpoint, told by the names of their tensors.</summary>
internal static class ForeignFamily
{
    /// <summary>Parts of names, and what a file with such a name is; the first that is found counts, so special ones stand before general ones.</summary>
    private static readonly (string[] AnyOf, string What)[] Table =
    [
        ([".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.", ".lora.up.", ".hada_w1_", ".lokr_w1", ".oft_blocks"], "a LoRA, which changes a model and is none itself"),
        (["control_model.", "input_hint_block.", "controlnet_cond_embedding.", "controlnet_blocks.", "control_all_x_embedder."], "a ControlNet, which guides a model and is none itself"),
        (["ip_adapter."], "an IP-Adapter, which guides a model and is none itself"),
        (["string_to_param", "emb_params"], "a textual inversion, a word for a model and none itself"),
        (["motion_modules.", "time_stack.", "time_mixer.", "temporal_transformer."], "a video model (Stable Video Diffusion, AnimateDiff)"),
        (["individual_token_refiner."], "a Hunyuan Video checkpoint"),
        (["patchify_proj."], "an LTX-Video checkpoint"),
        (["joint_blocks."], "a Stable Diffusion 3 checkpoint"),
        (["distilled_guidance_layer."], "a Chroma checkpoint"),
        (["single_stream_modulation"], "a Flux.2 checkpoint"),
        (["double_stream_blocks."], "a HiDream checkpoint"),
        (["double_blocks.", "single_transformer_blocks."], "a Flux checkpoint"),
        (["double_layers."], "an AuraFlow checkpoint"),
        (["cap_embedder."], "a Lumina or Z-Image checkpoint"),
        (["img_mod.1.", ".img_mlp."], "a Qwen-Image checkpoint"),
        (["cross_attn.kv_linear.", "adaln_single.", "y_embedder.y_embedding"], "a PixArt or Sana checkpoint"),
        (["clip_txt_mapper.", ".channelwise."], "a Stable Cascade (Würstchen) checkpoint"),
        (["encoder_hid_proj.", "add_embedding.image_", "add_embedding.text_norm"], "a Kandinsky or DeepFloyd IF checkpoint"),
        (["head.modulation", "vace_blocks."], "a Wan checkpoint"),
        (["blocks.0.attn.qkv_x."], "a Mochi checkpoint"),
        (["net.x_embedder."], "a Cosmos checkpoint"),
        (["edm_mean"], "a Playground v2.5 checkpoint, whose latents are normalised in a way of their own,"),
        (["edm_vpred."], "a CosXL checkpoint, trained for continuous noise levels,"),
        (["noise_augmentor."], "a Stable unCLIP checkpoint, which is conditioned on pictures,"),
        (["cond_stage_model.model.visual.", "cond_stage_model.mapper.", "embedders.0.open_clip."], "a model that is conditioned on pictures (image variations)"),
        ([".rdb1.", ".RDB1.", "conv_body."], "an upscaler of pictures (ESRGAN)"),
    ];

    /// <summary>What a file is; null where nothing foreign shows.</summary>
    public static string? Find(IReadOnlyList<string> names)
    {
        foreach ((string[] parts, string what) in Table)
        {
            if (names.Any(name => parts.Any(part => name.Contains(part, StringComparison.Ordinal))))
            {
                return what;
            }
        }
        return null;
    }

    /// <summary>What a file without a UNet in the original layout is, as far as its names tell; null: no idea.</summary>
    public static string? FindPart(IReadOnlyList<string> names)
    {
        bool Any(string part) => names.Any(name => name.StartsWith(part, StringComparison.Ordinal));
        return names.Count > 0 && names.All(name => name is "clip_l" or "clip_g" or "emb_params") ? "a textual inversion, a word for a model and none itself"
            : Any("down_blocks.") && Any("time_embedding.") ? "a UNet alone, in diffusers' layout; it belongs into the folder of a model, as unet/diffusion_pytorch_model.safetensors,"
            : Any("decoder.layers.") || Any("encoder.layers.") && !Any("text_model.") ? "a small autoencoder for previews (TAESD); give it as the preview VAE beside a model,"
            : Any("decoder.") || Any("first_stage_model.decoder.") ? "a VAE alone; give it as the VAE beside a model (--vae),"
            : Any("text_model.") || Any("cond_stage_model.") || Any("transformer.resblocks.") || Any("text_projection") || Any("encoder.block.") ? "a text encoder alone"
            : null;
    }

    /// <summary>The refusal of a family.</summary>
    /// <param name="location">The file.</param>
    /// <param name="what">What it is.</param>
    public static NotSupportedException Refusal(string location, string what) =>
        new($"'{location}' is {what}{(what.EndsWith(',') ? " and cannot be loaded" : "")}; StableDiffusion.Native draws with SD 1.x, 2.x and SDXL.");

    /// <summary>Tensors without a meaning for us, which may stay unread in a single file: buffers of training, copies, marks.</summary>
    public static bool IsIgnored(string name) =>
        IgnoredNames.Contains(name) || IgnoredBeginnings.Any(part => name.StartsWith(part, StringComparison.Ordinal)) || IgnoredEndings.Any(part => name.EndsWith(part, StringComparison.Ordinal));

    private static readonly HashSet<string> IgnoredNames = new(StringComparer.Ordinal)
    {
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "lvlb_weights", "logvar", "scale_factor", "denoiser.sigmas", "sigmas", "v_pred", "ztsnr",
        "cond_stage_model.model.text_projection", "cond_stage_model.model.attn_mask", "global_step", "pytorch-lightning_version", "epoch",
    };

    // The depth estimator of SD 2 depth is not used: the depth map is given.
    private static readonly string[] IgnoredBeginnings =
        ["model_ema.", "posterior_", "first_stage_model.loss.", "first_stage_model.model_ema.", "depth_model.", "embedding_manager.", "safety_checker.", "modelspec."];

    private static readonly string[] IgnoredEndings =
        [".position_ids", ".logit_scale", ".attn_mask", "transformer.text_projection.weight", "model_ema.decay", "model_ema.num_updates"];
}
