using StableDiffusion.Imaging;

namespace StableDiffusion.Pipelines;

/// <summary>What one denoise step left behind: diffusers' callback_on_step_end. Valid only during the call.</summary>
public sealed class GenerationStep
{
    private readonly Tensors _tensors;
    private bool _ended;

    internal GenerationStep(int index, float timestep, Tensors tensors) => (Index, Timestep, _tensors) = (index, timestep, tensors);

    /// <summary>0-based, numbered on in a hires pass; one less before the first step of a pass (so -1 at the beginning), when <see cref="Latents"/> are those it begins with.</summary>
    public int Index { get; }

    /// <summary>The timestep the UNet was given; before the first step, the first.</summary>
    public float Timestep { get; }

    /// <summary>A copy of the latents after the step, <c>[B,4,H/8,W/8]</c>, before the division by scaling_factor.</summary>
    /// <exception cref="InvalidOperationException">After the call has ended.</exception>
    public FloatTensor Latents => Now(_tensors.Latents);

    /// <summary>A copy of the guided model output that the scheduler was given, of the latents' shape.</summary>
    /// <exception cref="InvalidOperationException">Before the first step, or after the call has ended.</exception>
    public FloatTensor ModelOutput => Now(_tensors.ModelOutput);

    /// <summary>
    /// A copy of the scheduler's estimate of the latents without noise, of the latents' shape: what the picture would be if the model were right
    /// already. diffusers: pred_original_sample.
    /// </summary>
    /// <exception cref="InvalidOperationException">Before the first step, or after the call has ended.</exception>
    public FloatTensor PredictedOriginal => Now(_tensors.PredictedOriginal);

    /// <summary>
    /// <see cref="PredictedOriginal"/> as pictures of the final size, one per image: decoded by the preview VAE, where the pipeline has one, else by
    /// a linear approximation, one colour for each cell of 8x8 pixels. Takes nothing from the generation but time.
    /// </summary>
    /// <exception cref="InvalidOperationException">Before the first step, or after the call has ended.</exception>
    /// <exception cref="OutOfMemoryException">The preview VAE has not the memory that was planned for it any more.</exception>
    public IReadOnlyList<RgbImage> Preview() => _tensors.Preview(PredictedOriginal);

    /// <summary>Calls the callback, during which the step is valid.</summary>
    internal void Show(Action<GenerationStep> callback)
    {
        try
        {
            callback(this);
        }
        finally
        {
            _ended = true;
        }
    }

    private FloatTensor Now(Func<FloatTensor>? read)
    {
        if (_ended)
        {
            throw new InvalidOperationException("a step can be looked at during its callback only; keep what it gave there");
        }
        return read is not null ? read() : throw new InvalidOperationException("there is no model output before the first step");
    }

    /// <summary>How to read what a step left; null where there is nothing yet.</summary>
    internal sealed record Tensors(Func<FloatTensor> Latents, Func<FloatTensor>? ModelOutput, Func<FloatTensor>? PredictedOriginal, Func<FloatTensor, IReadOnlyList<RgbImage>> Preview);
}
