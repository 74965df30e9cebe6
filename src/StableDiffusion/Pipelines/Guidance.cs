using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Classifier-free guidance (arXiv 2207.12598): which parts a UNet batch has and how their predictions become one. Two parts: negative prompt, prompt.
/// Three, for instructions (arXiv 2211.09800): prompt and picture, picture alone, neither.
/// </summary>
internal static class Guidance
{
    /// <summary>What each part is given, joined along the batch.</summary>
    /// <param name="shape">Tells the parts.</param>
    /// <param name="prompt">Of the prompt, one entry per image.</param>
    /// <param name="negative">Of the negative prompt; not used without guidance.</param>
    public static FloatTensor Join(GenerationShape shape, FloatTensor prompt, FloatTensor? negative) => shape.Parts switch
    {
        1 => prompt,
        2 => FloatTensor.Concat(negative!, prompt),
        _ => FloatTensor.Concat(prompt, negative!, negative!),
    };

    /// <summary>Combines the parts of a prediction <c>[parts*B,h,w,C]</c> in float32, then diffusers' guidance rescale (arXiv 2305.08891).</summary>
    public static void Combine(Exec exec, GenerationShape shape, double rescale, Tensor output, Tensor prediction)
    {
        if (!shape.Guided)
        {
            exec.Copy(output, prediction);
            return;
        }
        Tensor Part(int index) => prediction.Slice(0, index * shape.Images, shape.Images);
        double scale = shape.GuidanceScale;
        if (shape.ImageGuidanceScale is double image)
        {
            // neither + scale * (prompt - picture) + image * (picture - neither)
            exec.LinearCombination(output, [Part(0), Part(1), Part(2)], [scale, image - scale, 1 - image]);
        }
        else
        {
            // negative + scale * (prompt - negative)
            exec.LinearCombination(output, [Part(0), Part(1)], [1 - scale, scale]);
        }
        if (rescale > 0)
        {
            exec.RescaleGuidance(output, output, prediction.Slice(0, shape.PromptStart, shape.Images), (float)rescale);
        }
    }

    /// <summary>Whether a call is guided, see <see cref="GenerationRequest.GuidanceInterval"/>.</summary>
    /// <param name="interval">Shares of the calls; null: all.</param>
    /// <param name="index">Of the call, from 0.</param>
    /// <param name="calls">In all.</param>
    public static bool IsOn((double Start, double End)? interval, int index, int calls) =>
        interval is not var (start, end) || (index >= (int)(calls * start) && index <= (int)(calls * end));
}
