using System.Globalization;
using StableDiffusion.Imaging;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>What a picture's PNG says about how it was drawn.</summary>
internal static class RequestDescription
{
    /// <summary>One per image.</summary>
    public static IReadOnlyList<GenerationParameters> Of(PipelineComponents parts, GenerationRequest request, IReadOnlyList<GenerationPass> passes, IReadOnlyList<ulong> seeds)
    {
        GenerationShape shape = passes[0].Plan.Shape, last = passes[^1].Plan.Shape;
        (string sampler, string? scheduleType) = SchedulerCatalog.WebName(request.Scheduler ?? parts.Scheduler);
        var described = new GenerationParameters[shape.Images];
        for (int i = 0; i < described.Length; i++)
        {
            int prompt = i / request.ImagesPerPrompt;
            described[i] = new GenerationParameters
            {
                Prompt = request.Prompts.ElementAtOrDefault(prompt) ?? "",
                NegativePrompt = request.NegativePrompts is { } negatives ? negatives[negatives.Count == 1 ? 0 : prompt] : "",
                Steps = request.Steps,
                Sampler = sampler,
                ScheduleType = scheduleType,
                CfgScale = shape.GuidanceScale,
                Seed = seeds[seeds.Count == 1 ? 0 : i],
                // As the web UIs: the size of the first pass; the second's is told by "Hires upscale" or "Hires resize".
                Width = shape.ImageWidth,
                Height = shape.ImageHeight,
                Model = parts.Name,
                Other = [.. Others(request, passes, i, seeds.Count).Concat(OfArithmetic(parts)).Select(setting => KeyValuePair.Create(setting.Name, setting.Value.ToString(null, CultureInfo.InvariantCulture)))],
            };
        }
        return described;
    }

    /// <summary>Settings beyond the common ones, as far as they differ from the defaults, by the web UIs' names where they have one.</summary>
    private static IEnumerable<(string Name, IFormattable Value)> Others(GenerationRequest request, IReadOnlyList<GenerationPass> passes, int image, int seeds)
    {
        int images = passes[0].Plan.Shape.Images;
        if (request.ClipSkip > 0)
        {
            yield return ("Clip skip", request.ClipSkip + 1);
        }
        if (request.Eta > 0)
        {
            yield return ("Eta", request.Eta);
        }
        if ((request.Timesteps ?? request.Sigmas) is { } schedule)
        {
            yield return (request.Timesteps is null ? "Sigmas" : "Timesteps", Text($"{string.Join(' ', schedule.Select(level => level.ToString("R", CultureInfo.InvariantCulture)))}"));
        }
        if (request.GuidanceRescale > 0)
        {
            yield return ("CFG Rescale", request.GuidanceRescale);
        }
        if (passes[0].Plan.Shape.ImageGuidanceScale is double imageScale)
        {
            yield return ("Image CFG scale", imageScale);
        }
        if (request.GuidanceInterval is var (start, end))
        {
            yield return ("CFG interval", Text($"{start}-{end}"));
        }
        foreach ((string, IFormattable) setting in OfTask(request, passes))
        {
            yield return setting;
        }
        if (request.Variation is { Strength: > 0 } variation)
        {
            yield return ("Variation seed", variation.Seed + (ulong)(seeds == 1 ? 0 : image));
            yield return ("Variation seed strength", variation.Strength);
        }
        if (images > 1 && seeds == 1)
        {
            // One generator drew the whole batch: the seed alone reproduces it only as part of such a batch.
            yield return ("Batch size", images);
            yield return ("Batch pos", image);
        }
        yield return ("RNG", Text($"{(request.NoiseGpu is null ? "CPU" : "GPU")}"));
    }

    /// <summary>How far a picture was changed, and the second pass.</summary>
    private static IEnumerable<(string Name, IFormattable Value)> OfTask(GenerationRequest request, IReadOnlyList<GenerationPass> passes)
    {
        bool handedOver = request.DenoisingStart is not null;
        if (request.Hires is { } hires)
        {
            // The web UIs have one strength, and a second pass after text only; from a picture there are two.
            yield return (request.Image is null ? "Denoising strength" : "Hires strength", hires.Strength);
            GenerationShape size = passes[^1].Plan.Shape;
            yield return hires.Width is null ? ("Hires upscale", hires.Scale) : ("Hires resize", Text($"{size.ImageWidth}x{size.ImageHeight}"));
            yield return ("Hires steps", hires.Steps ?? request.Steps);
            yield return ("Hires upscaler", Text($"{hires.Upscale switch { LatentUpscale.Nearest => "Latent (nearest)", LatentUpscale.Bicubic => "Latent (bicubic)", _ => "Latent" }}"));
        }
        if (passes[0].Task.Strength is double strength && !handedOver)
        {
            yield return ("Denoising strength", strength);
        }
        if (request.Mask is not null)
        {
            yield return ("Mask blur", 0);
        }
        if (request.DenoisingEnd is double end)
        {
            yield return ("Denoising end", end);
        }
        if (handedOver)
        {
            yield return ("Denoising start", request.DenoisingStart!.Value);
        }
    }

    /// <summary>How the device multiplied and how the weights were kept, where that is not the usual of its kind: the picture is then not quite that of others.</summary>
    private static IEnumerable<(string Name, IFormattable Value)> OfArithmetic(PipelineComponents parts)
    {
        DeviceInfo device = parts.Device.Info;
        if (device.Precision != Precision.Reference)
        {
            yield return ("Precision", Text($"{device.Precision.ToString().ToLowerInvariant()}"));
        }
        DType usual = device.Kind == DeviceKind.Cuda ? DType.Float16 : DType.Float32;
        if (parts.Unet.Storage != usual)
        {
            yield return ("Weight dtype", Text($"{(parts.Unet.Storage == DType.Int8 ? "I8" : ((WeightDType)parts.Unet.Storage).SafetensorsName())}"));
        }
        DType usualVae = device.Kind == DeviceKind.Cuda && parts.Vae.Config.ForceUpcast ? DType.BFloat16 : usual;
        if (parts.Vae.Storage != usualVae && parts.Vae.Storage != parts.Unet.Storage)
        {
            yield return ("VAE dtype", Text($"{((WeightDType)parts.Vae.Storage).SafetensorsName()}"));
        }
    }

    private static FormattableString Text(FormattableString text) => text;
}
