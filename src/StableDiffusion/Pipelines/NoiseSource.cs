using StableDiffusion.Random;

namespace StableDiffusion.Pipelines;

/// <summary>The normal draws of one generation, in diffusers' order: one generator for the whole batch, or one per image.</summary>
internal sealed class NoiseSource
{
    private readonly TorchCpuGenerator[] _generators;

    public NoiseSource(IReadOnlyList<ulong> seeds) => _generators = [.. seeds.Select(seed => new TorchCpuGenerator(seed))];

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
