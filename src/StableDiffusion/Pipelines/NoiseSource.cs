using StableDiffusion.Random;

namespace StableDiffusion.Pipelines;

/// <summary>The normal draws of one generation, in diffusers' order: one generator for the whole batch, or one per image.</summary>
/// <param name="seeds">One for the batch, or one per image.</param>
/// <param name="gpu">Whose generator: that of this GPU, or of PyTorch's CPU for null.</param>
internal sealed class NoiseSource(IReadOnlyList<ulong> seeds, TorchCudaGpu? gpu = null)
{
    private readonly IGenerator[] _generators = [.. seeds.Select<ulong, IGenerator>(seed => gpu is null ? new TorchCpuGenerator(seed) : new TorchCudaGenerator(seed, gpu))];

    /// <summary>Whether each image has a generator of its own.</summary>
    public bool IsPerImage => _generators.Length > 1;

    /// <summary>One standard normal draw of that shape <c>[B,C,H,W]</c>. With a generator per image, the first B draw an entry each.</summary>
    public FloatTensor Draw(params ReadOnlySpan<int> shape)
    {
        var noise = new FloatTensor(shape);
        int drawing = IsPerImage ? shape[0] : 1, size = noise.Values.Length / drawing;
        for (int i = 0; i < drawing; i++)
        {
            _generators[i].Normal(noise.Values.AsSpan(i * size, size));
        }
        return noise;
    }
}
