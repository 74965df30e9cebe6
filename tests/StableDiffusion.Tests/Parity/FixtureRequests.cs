using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Imaging;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>The generation that a case of <c>e2e/</c> or <c>tasks/</c> describes.</summary>
internal static class FixtureRequests
{
    /// <summary>Reads the JSON of a case of <c>tasks/</c>; its tensors come from the safetensors file beside it, pictures from the shared one.</summary>
    public static GenerationRequest Read(JsonElement doc, TensorFile file) => Pictures(WithoutPictures(doc), doc, file);

    /// <summary>Reads the JSON of a case of <c>e2e/</c>; pixels or latents of a picture, mask and depth come from the safetensors file beside it.</summary>
    public static GenerationRequest ReadEndToEnd(JsonElement doc, TensorFile file)
    {
        FloatTensor? Stored(string meaning) => doc.GetProperty("tensors").TryGetProperty(meaning, out JsonElement key) ? Values(file[key.GetString()!]) : null;
        return WithoutPictures(doc) with
        {
            Image = Stored("image") is not { } image ? null : image[1] == 3 ? SourceImage.FromPixels(image) : SourceImage.FromLatents(image),
            Mask = Stored("mask") is { } mask ? MaskImage.FromValues(mask) : null,
            Depth = Stored("depth") is { } depth ? DepthMap.FromValues(depth) : null,
        };
    }

    private static GenerationRequest WithoutPictures(JsonElement doc)
    {
        JsonElement seed = doc.GetProperty("seed");
        bool perImage = seed.ValueKind == JsonValueKind.Array;
        var request = new GenerationRequest(Texts(doc.GetProperty("prompts")))
        {
            NegativePrompts = doc.TryGetProperty("negative", out JsonElement negative) && negative.ValueKind == JsonValueKind.Array ? Texts(negative) : null,
            Steps = doc.GetProperty("steps").GetInt32(),
            GuidanceScale = doc.GetProperty("guidance").GetDouble(),
            Height = doc.GetProperty("height").GetInt32(),
            Width = doc.GetProperty("width").GetInt32(),
            Seed = perImage ? null : seed.GetUInt64(),
            Seeds = perImage ? [.. seed.EnumerateArray().Select(one => one.GetUInt64())] : null,
            Scheduler = ReadScheduler(doc.GetProperty("scheduler")),
            Strength = doc.TryGetProperty("strength", out JsonElement strength) ? strength.GetDouble() : null,
            ImageGuidanceScale = doc.TryGetProperty("image_guidance_scale", out JsonElement scale) ? scale.GetDouble() : null,
        };
        return Arguments(request, doc);
    }

    private static GenerationRequest Pictures(GenerationRequest request, JsonElement doc, TensorFile file)
    {
        TensorFile pictures = Fixtures.ReadTensors("tasks", "pictures.safetensors");
        JsonElement stored = doc.GetProperty("tensors");
        if (stored.TryGetProperty("image_latents", out JsonElement latents))
        {
            request = request with { Image = SourceImage.FromLatents(Values(file[latents.GetString()!])) };
        }
        else if (doc.TryGetProperty("image", out JsonElement names))
        {
            request = request with { Image = SourceImage.FromPictures([.. Texts(names).Select(name => Picture(pictures[name]))]) };
        }
        if (doc.TryGetProperty("mask", out JsonElement mask))
        {
            TestTensor grey = pictures[mask.GetString()!];
            request = request with { Mask = new RgbImage(grey.Shape[2], grey.Shape[1], [.. grey.As<byte>().SelectMany(level => new[] { level, level, level })]) };
        }
        if (stored.TryGetProperty("depth", out JsonElement depth))
        {
            TestTensor map = file[depth.GetString()!];
            request = request with { Depth = DepthMap.FromValues(new FloatTensor(map.ToSingle(), map.Shape[0], 1, map.Shape[1], map.Shape[2])) };
        }
        return request;
    }

    private static GenerationRequest Arguments(GenerationRequest request, JsonElement doc)
    {
        if (!doc.TryGetProperty("pipeline_arguments", out JsonElement arguments))
        {
            return request;
        }
        foreach (JsonProperty argument in arguments.EnumerateObject())
        {
            JsonElement value = argument.Value;
            request = argument.Name switch
            {
                "eta" => request with { Eta = value.GetDouble() },
                "guidance_rescale" => request with { GuidanceRescale = value.GetDouble() },
                "image_guidance_scale" => request with { ImageGuidanceScale = value.GetDouble() },
                "clip_skip" => request with { ClipSkip = value.GetInt32() },
                "num_images_per_prompt" => request with { ImagesPerPrompt = value.GetInt32() },
                "timesteps" => request with { Timesteps = Numbers(value) },
                "sigmas" => request with { Sigmas = Numbers(value) },
                "cutoff_step_ratio" => request with { GuidanceInterval = (0, value.GetDouble()) },
                "denoising_end" => request with { DenoisingEnd = value.GetDouble() },
                "denoising_start" => request with { DenoisingStart = value.GetDouble() },
                "aesthetic_score" => request with { AestheticScore = value.GetDouble() },
                "negative_aesthetic_score" => request with { NegativeAestheticScore = value.GetDouble() },
                "original_size" => request with { OriginalSize = Pair(value) },
                "crops_coords_top_left" => request with { CropTopLeft = Pair(value) },
                "target_size" => request with { TargetSize = Pair(value) },
                "negative_original_size" => request with { NegativeOriginalSize = Pair(value) },
                "negative_crops_coords_top_left" => request with { NegativeCropTopLeft = Pair(value) },
                "negative_target_size" => request with { NegativeTargetSize = Pair(value) },
                _ => throw new NotSupportedException($"the test does not know the pipeline argument {argument.Name}"),
            };
        }
        return request;
    }

    private static Scheduler ReadScheduler(JsonElement scheduler)
    {
        JsonObject config = scheduler.TryGetProperty("config", out JsonElement given) ? JsonObject.Create(given)! : [];
        config["_class_name"] = scheduler.GetProperty("class").GetString();
        return Scheduler.FromConfig(JsonSerializer.SerializeToElement(config));
    }

    private static RgbImage Picture(TestTensor pixels) => new(pixels.Shape[2], pixels.Shape[1], pixels.As<byte>());

    private static FloatTensor Values(TestTensor tensor) => new(tensor.ToSingle(), tensor.Shape);

    private static string[] Texts(JsonElement list) => [.. list.EnumerateArray().Select(text => text.GetString()!)];

    private static double[] Numbers(JsonElement list) => [.. list.EnumerateArray().Select(number => number.GetDouble())];

    private static (int, int) Pair(JsonElement pair) => (pair[0].GetInt32(), pair[1].GetInt32());
}
