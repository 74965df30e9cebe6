using StableDiffusion.Models.Unet;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>What the UNet is told beside the sample, the same over all steps, one entry per entry of its batch.</summary>
/// <param name="Context">Text embeddings <c>[N,T,C]</c>.</param>
/// <param name="Pooled">SDXL: pooled text <c>[N,P]</c>.</param>
/// <param name="TimeIds">SDXL: sizes, crop corner and perhaps a score, <c>[N,6 or 5]</c>.</param>
/// <param name="GuidanceEmbedding">Guidance-distilled models: the embedded guidance scale <c>[N,time_cond_proj_dim]</c>.</param>
internal sealed record Conditioning(FloatTensor Context, FloatTensor? Pooled, FloatTensor? TimeIds, FloatTensor? GuidanceEmbedding)
{
    /// <summary>Of a request, from embeddings of one entry per image.</summary>
    public static Conditioning Of(PipelineComponents parts, GenerationRequest request, GenerationShape shape, PromptEmbeddings embeddings) => new(
        Guidance.Join(shape, embeddings.Prompt, embeddings.Negative),
        parts.IsXl ? Guidance.Join(shape, embeddings.Pooled!, embeddings.NegativePooled) : null,
        parts.IsXl ? SizesOf(parts, request, shape) : null,
        parts.Unet.Config.TimeCondProjDim is int channels ? EmbedGuidance(shape.GuidanceScale, channels).Repeat(shape.UnetBatch) : null);

    /// <summary>Of that shape, for measuring.</summary>
    public static Conditioning Empty(PipelineComponents parts, GenerationShape shape)
    {
        UnetConfig config = parts.Unet.Config;
        return new Conditioning(
            new FloatTensor(shape.UnetBatch, shape.Tokens, config.CrossAttentionDim[0]),
            parts.IsXl ? new FloatTensor(shape.UnetBatch, parts.PooledWidth) : null,
            parts.IsXl ? new FloatTensor(shape.UnetBatch, parts.TimeIdCount) : null,
            config.TimeCondProjDim is int channels ? new FloatTensor(shape.UnetBatch, channels) : null);
    }

    /// <summary>Uploads it and computes what depends on it alone.</summary>
    public UnetContext Prepare(Exec exec, UNet2DConditionModel unet)
    {
        using Tensor tokens = Upload(exec, Context), text = Upload(exec, Pooled), sizes = Upload(exec, TimeIds), guidance = Upload(exec, GuidanceEmbedding);
        return unet.PrepareContext(exec, tokens, new AddedConditions(text, sizes), guidance);
    }

    private static Tensor Upload(Exec exec, FloatTensor? values) =>
        values is null ? default : exec.Upload<float>(values.Values, DType.Float32, [.. values.Shape.Select(side => (long)side)]);

    /// <summary>
    /// SDXL's micro-conditioning. As diffusers' pipelines: from text, the negative part has sizes of its own only when both are given, and its own crop
    /// corner; from a picture, each size by itself and the prompt's corner. A refiner takes a score instead of the target size.
    /// </summary>
    private static FloatTensor SizesOf(PipelineComponents parts, GenerationRequest request, GenerationShape shape)
    {
        (int Height, int Width) size = (shape.ImageHeight, shape.ImageWidth), original = request.OriginalSize ?? size, target = request.TargetSize ?? size;
        (int, int) crop = request.CropTopLeft, negativeCrop = request.NegativeCropTopLeft ?? (0, 0);
        (int, int) negativeOriginal = request.NegativeOriginalSize ?? original, negativeTarget = request.NegativeTargetSize ?? target;
        double[] prompt = Row(original, crop, target), negative = prompt;
        if (parts.TakesAestheticScore)
        {
            prompt = Row(original, crop, request.AestheticScore);
            negative = Row(negativeOriginal, negativeCrop, request.NegativeAestheticScore);
        }
        else if (shape.ImageGuidanceScale is not null)
        {
            // Instructions: all parts alike.
        }
        else if (request.Image is not null)
        {
            negative = Row(negativeOriginal, crop, negativeTarget);
        }
        else if (request is { NegativeOriginalSize: not null, NegativeTargetSize: not null })
        {
            negative = Row(negativeOriginal, negativeCrop, negativeTarget);
        }
        return Guidance.Join(shape, Rows(prompt, shape.Images), Rows(negative, shape.Images));
    }

    private static double[] Row((int, int) original, (int, int) crop, (int, int) target) =>
        [original.Item1, original.Item2, crop.Item1, crop.Item2, target.Item1, target.Item2];

    private static double[] Row((int, int) original, (int, int) crop, double score) => [original.Item1, original.Item2, crop.Item1, crop.Item2, score];

    private static FloatTensor Rows(double[] row, int count) => new FloatTensor(Array.ConvertAll(row, value => (float)value), 1, row.Length).Repeat(count);

    /// <summary>diffusers' get_guidance_scale_embedding <c>[1,channels]</c>: sines and cosines of 1000 (scale - 1), in float32 as there.</summary>
    private static FloatTensor EmbedGuidance(double scale, int channels)
    {
        float weight = (float)(scale - 1) * 1000;
        int half = channels / 2;
        float step = MathF.Log(10000) / (half - 1);
        var row = new float[channels];
        for (int i = 0; i < half; i++)
        {
            float angle = weight * MathF.Exp(i * -step);
            (row[half + i], row[i]) = (MathF.Cos(angle), MathF.Sin(angle));
        }
        return new FloatTensor(row, 1, channels);
    }
}
