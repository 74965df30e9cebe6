using StableDiffusion.Native;
using StableDiffusion.Random;

namespace StableDiffusion.Cli.Generate;

/// <summary>What --rng was given.</summary>
/// <param name="OfDevice">The GPU in use, whichever that is.</param>
/// <param name="Gpu">A named GPU; null for PyTorch's CPU generator.</param>
internal sealed record NoiseChoice(bool OfDevice, TorchCudaGpu? Gpu)
{
    /// <summary>Stands in where there is no GPU.</summary>
    private const string Common = "RTX 4090";

    internal static bool TryParse(string text, out NoiseChoice? choice)
    {
        string name = text.Trim().ToLowerInvariant();
        try
        {
            choice = name switch
            {
                "cpu" => new NoiseChoice(false, null),
                "cuda" => new NoiseChoice(true, null),
                _ => new NoiseChoice(false, TorchCudaGpu.FromName(text)),
            };
            return true;
        }
        catch (ArgumentException)
        {
            choice = null;
            return false;
        }
    }

    /// <summary>The GPU whose noise is meant on a device; null for PyTorch's CPU generator.</summary>
    internal TorchCudaGpu? GpuOn(Device device)
    {
        DeviceInfo info = device.Info;
        return !OfDevice ? Gpu
            : info is { Kind: DeviceKind.Cuda, Emulated: false } ? new TorchCudaGpu(info.Multiprocessors, info.ThreadsPerMultiprocessor)
            : TorchCudaGpu.FromName(Common);
    }
}
