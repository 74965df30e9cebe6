namespace StableDiffusion.Models.Vae;

/// <summary>
/// The diagonal normal distribution over latents that the encoder gives for an image (Kingma and Welling 2013, arXiv 1312.6114). In host
/// memory, NHWC: it is small, and sampled once per image. Values are not yet multiplied by <see cref="VaeConfig.ScalingFactor"/>.
/// </summary>
public sealed class LatentDistribution
{
    // diffusers' bounds of the logarithm of the variance.
    private const float MinLogVariance = -30, MaxLogVariance = 20;

    private readonly float[] _mean;
    private readonly float[] _std;

    /// <summary>Splits raw moments <c>[B,h,w,2*latent]</c>: the means, then the logarithms of the variances, on the channel axis.</summary>
    public LatentDistribution(ReadOnlySpan<float> moments, int batch, int height, int width, int channels)
    {
        long rows = (long)batch * height * width;
        if (moments.Length != rows * 2 * channels)
        {
            throw new ArgumentException($"{moments.Length} moments, but [{batch},{height},{width},2*{channels}] has {rows * 2 * channels}", nameof(moments));
        }
        Shape = [batch, height, width, channels];
        _mean = new float[rows * channels];
        _std = new float[rows * channels];
        for (int row = 0; row < rows; row++)
        {
            ReadOnlySpan<float> source = moments.Slice(row * 2 * channels, 2 * channels);
            source[..channels].CopyTo(_mean.AsSpan(row * channels));
            for (int c = 0; c < channels; c++)
            {
                _std[(row * channels) + c] = MathF.Exp(0.5f * Math.Clamp(source[channels + c], MinLogVariance, MaxLogVariance));
            }
        }
    }

    /// <summary><c>[B,h,w,latent]</c>.</summary>
    public IReadOnlyList<int> Shape { get; }

    /// <summary>The means, which are also the mode.</summary>
    public ReadOnlySpan<float> Mean => _mean;

    /// <summary>The standard deviations, <c>exp(logvar/2)</c>.</summary>
    public ReadOnlySpan<float> Std => _std;

    /// <summary>The most likely latent: the means, as a new array.</summary>
    public float[] Mode() => [.. _mean];

    /// <summary>A latent drawn with the given standard normal numbers, <c>mean + std * noise</c>.</summary>
    /// <param name="noise">As many numbers as the latent has, NHWC.</param>
    public float[] Sample(ReadOnlySpan<float> noise)
    {
        if (noise.Length != _mean.Length)
        {
            throw new ArgumentException($"{noise.Length} random numbers for a latent of {_mean.Length}", nameof(noise));
        }
        var sample = new float[_mean.Length];
        for (int i = 0; i < sample.Length; i++)
        {
            sample[i] = _mean[i] + (_std[i] * noise[i]);
        }
        return sample;
    }
}
