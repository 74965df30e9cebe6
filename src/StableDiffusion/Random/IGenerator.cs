namespace StableDiffusion.Random;

/// <summary>
/// A stream of random numbers that a generation draws its noise from, as diffusers' <c>generator</c> argument. Successive draws
/// continue the stream. A generator belongs to one generation at a time.
/// </summary>
public interface IGenerator
{
    /// <summary>
    /// Fills the whole span with standard normal numbers, as one call of <c>torch.randn</c> of that many elements would. One draw of
    /// 32 values is not the same as two of 16: draw a tensor in one call.
    /// </summary>
    void Normal(Span<float> destination);
}
