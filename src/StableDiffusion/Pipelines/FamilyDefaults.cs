using System.Globalization;
using System.Text.Json.Nodes;
using StableDiffusion.Models.SingleFile;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>What the published models of each family say in their configurations and no tensor tells.</summary>
internal static class FamilyDefaults
{
    private const double ScalingFactorXL = 0.13025;

    /// <summary>The size of latents that the family was trained at: 512 pixels; SD 2.x that predicts v 768; SDXL 1024.</summary>
    /// <param name="kind">The file.</param>
    /// <param name="prediction">What it predicts, where known.</param>
    /// <param name="metadata">May have a <c>modelspec.resolution</c> such as "1024x1024".</param>
    public static (int Height, int Width) SampleSize(CheckpointKind kind, PredictionType? prediction, IReadOnlyDictionary<string, string> metadata)
    {
        const int LatentPixels = 8;
        string[] sides = metadata.GetValueOrDefault("modelspec.resolution")?.Split('x') ?? [];
        if (sides.Length == 2 && int.TryParse(sides[0], CultureInfo.InvariantCulture, out int width) && int.TryParse(sides[1], CultureInfo.InvariantCulture, out int height)
            && width >= LatentPixels && height >= LatentPixels)
        {
            return (height / LatentPixels, width / LatentPixels);
        }
        int side = kind.Family switch
        {
            ModelFamily.StableDiffusion1 => 64,
            ModelFamily.StableDiffusion2 => SampleSizeOfSD2(prediction, kind.InChannels),
            _ => 128,
        };
        return (side, side);
    }

    /// <summary>SD 2.x: those that predict the noise, and those for inpainting and depth, were trained at 512 pixels, the others at 768.</summary>
    public static int SampleSizeOfSD2(PredictionType? prediction, int channels) => prediction == PredictionType.Epsilon || channels != 4 ? 64 : 96;

    /// <summary>The VAE's configuration, completed.</summary>
    public static VaeConfig Vae(ModelFamily family, VaeConfig shape, int sampleSize) => family is ModelFamily.StableDiffusionXL or ModelFamily.StableDiffusionXLRefiner
        ? shape with { ScalingFactor = ScalingFactorXL, SampleSize = sampleSize * shape.ScaleFactor }
        : shape with { SampleSize = sampleSize * shape.ScaleFactor };

    /// <summary>The model index: the pipeline class of the family and the task, and its components.</summary>
    public static JsonObject ModelIndex(CheckpointKind kind, UnetConfig unet)
    {
        bool xl = kind.Family is ModelFamily.StableDiffusionXL or ModelFamily.StableDiffusionXLRefiner, refiner = kind.Family == ModelFamily.StableDiffusionXLRefiner;
        string task = refiner ? "Img2Img" : kind.InChannels switch { 9 => "Inpaint", 8 => "InstructPix2Pix", 5 => "Depth2Img", _ => "" };
        var json = new JsonObject
        {
            ["_class_name"] = unet.TimeCondProjDim is not null && !xl ? "LatentConsistencyModelPipeline" : $"StableDiffusion{(xl ? "XL" : "")}{task}Pipeline",
        };
        if (xl)
        {
            json["force_zeros_for_empty_prompt"] = !refiner;
        }
        if (refiner)
        {
            json["requires_aesthetics_score"] = true;
        }
        if (!xl && task != "Depth2Img")
        {
            json["feature_extractor"] = Nothing();
            json["safety_checker"] = Nothing();
            json["requires_safety_checker"] = false;
        }
        json["scheduler"] = Part("diffusers", (string)Scheduler(kind, PredictionType.Epsilon, false)["_class_name"]!);
        foreach (string number in xl ? ["", "_2"] : (string[])[""])
        {
            bool there = !refiner || number.Length > 0;
            json[$"text_encoder{number}"] = there ? Part("transformers", number.Length > 0 ? "CLIPTextModelWithProjection" : "CLIPTextModel") : Nothing();
            json[$"tokenizer{number}"] = there ? Part("transformers", "CLIPTokenizer") : Nothing();
        }
        json["unet"] = Part("diffusers", "UNet2DConditionModel");
        json["vae"] = Part("diffusers", "AutoencoderKL");
        return json;
    }

    /// <summary>The scheduler of the published models: PNDM for SD 1.x and 2.x, DDIM for SD 2.x that predicts v, Euler for SDXL.</summary>
    public static JsonObject Scheduler(CheckpointKind kind, PredictionType prediction, bool zeroTerminalSnr)
    {
        bool xl = kind.Family is ModelFamily.StableDiffusionXL or ModelFamily.StableDiffusionXLRefiner;
        bool v = prediction == PredictionType.VPrediction;
        string name = xl ? "EulerDiscreteScheduler" : kind.InChannels == 8 ? "EulerAncestralDiscreteScheduler" : v || zeroTerminalSnr ? "DDIMScheduler" : "PNDMScheduler";
        JsonObject json = Common(name);
        json["prediction_type"] = prediction switch { PredictionType.VPrediction => "v_prediction", PredictionType.Sample => "sample", _ => "epsilon" };
        if (name is "PNDMScheduler" or "DDIMScheduler")
        {
            json["set_alpha_to_one"] = false;
            json["clip_sample"] = false;
        }
        if (name == "PNDMScheduler")
        {
            json["skip_prk_steps"] = true;
        }
        if (zeroTerminalSnr)
        {
            // Such a model must begin at its very last timestep, arXiv:2305.08891.
            json["rescale_betas_zero_snr"] = true;
            json["timestep_spacing"] = "trailing";
        }
        return json;
    }

    /// <summary>The scheduler of guidance-distilled latent consistency models.</summary>
    public static JsonObject ConsistencyScheduler() => Common("LCMScheduler");

    private static JsonObject Common(string name) => new()
    {
        ["_class_name"] = name,
        ["beta_end"] = 0.012,
        ["beta_schedule"] = "scaled_linear",
        ["beta_start"] = 0.00085,
        ["num_train_timesteps"] = 1000,
        ["steps_offset"] = 1,
        ["timestep_spacing"] = "leading",
    };

    private static JsonArray Part(string library, string className) => [library, className];

    private static JsonArray Nothing() => [null, null];
}
