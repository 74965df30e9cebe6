using StableDiffusion.Random;

namespace StableDiffusion.Pipelines;

/// <summary>The normal draws of one generation, in diffusers' order: one generator for the whole batch, or one per image.</summary>
/// <param name="seeds">One for the batch, or one per image.</param>
/// <param name="gpu">Whose generator: that of this GPU, or of PyTorch's CPU for null.</param>
internal sealed class NoiseSource(IReadOnlyList<ulong> seeds, TorchCudaGpu? gpu = null)
{
    private readonly IGenerator[] _generators = [.. seeds.Select<ulong, IGenerator>(seed => gpu is null ? new TorchCpuGenerator(seed) : new TorchCudaGenerator(seed, gpu))];

    /// <summary>One standard normal draw of that shape <c>[B,C,H,W]</c>. With a generator per image, each draws its own entry.</summary>
    public FloatTensor Draw(params ReadOnlySpan<int> shape)
    {
        var noise = new FloatTensor(shape);
        int size = noise.Values.Length / _generators.Length;
        for (int i = 0; i < _generators.Length; i++)
        {
            _generators[i].Normal(noise.Values.AsSpan(i * size, size));
        }
        return noise;
    }
}
