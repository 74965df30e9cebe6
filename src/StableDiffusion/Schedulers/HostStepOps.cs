namespace StableDiffusion.Schedulers;

/// <summary>
/// The step operations on plain float arrays: the reference for every device, and enough for latents that are on the host already.
/// </summary>
/// <param name="batch">Samples in an array, which lie one after another.</param>
public sealed class HostStepOps(int batch) : IStepOps<float[]>
{
    /// <inheritdoc/>
    public float[] Allocate(float[] like) => new float[like.Length];

    /// <inheritdoc/>
    public void Combine(float[] target, ReadOnlySpan<float[]> sources, ReadOnlySpan<double> coefficients)
    {
        for (int i = 0; i < target.Length; i++)
        {
            double sum = 0;
            for (int k = 0; k < sources.Length; k++)
            {
                sum += coefficients[k] * sources[k][i];
            }
            target[i] = (float)sum;
        }
    }

    /// <inheritdoc/>
    public void Clamp(float[] target, double low, double high)
    {
        for (int i = 0; i < target.Length; i++)
        {
            target[i] = Math.Min(Math.Max(target[i], (float)low), (float)high);
        }
    }

    /// <inheritdoc/>
    public void DynamicThreshold(float[] target, double ratio, double maxValue)
    {
        int size = target.Length / batch;
        var magnitudes = new float[size];
        for (int sample = 0; sample < batch; sample++)
        {
            Span<float> values = target.AsSpan(sample * size, size);
            for (int i = 0; i < size; i++)
            {
                magnitudes[i] = Math.Abs(values[i]);
            }
            Array.Sort(magnitudes);
            float rank = (float)ratio * (size - 1);
            int below = (int)rank;
            int above = Math.Min(below + 1, size - 1);
            double quantile = magnitudes[below] + ((double)rank - below) * ((double)magnitudes[above] - magnitudes[below]);
            double limit = Math.Min(Math.Max(quantile, 1), maxValue);
            for (int i = 0; i < size; i++)
            {
                values[i] = (float)(Math.Clamp(values[i], -limit, limit) / limit);
            }
        }
    }

    /// <inheritdoc/>
    public void Release(float[] tensor)
    {
    }
}
