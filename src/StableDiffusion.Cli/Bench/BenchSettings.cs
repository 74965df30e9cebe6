using StableDiffusion.Models;
using StableDiffusion.Native;

namespace StableDiffusion.Cli.Bench;

/// <summary>What <c>bench</c> was asked for.</summary>
/// <param name="Arch">The architecture.</param>
/// <param name="Width">Of the picture, in pixels.</param>
/// <param name="Height">Of the picture, in pixels.</param>
/// <param name="Batch">Pictures; the UNet's batch is twice that.</param>
/// <param name="DType">How the UNet's weights are kept.</param>
/// <param name="TextDType">How those of text encoders are kept.</param>
/// <param name="VaeDType">How those of the VAE are kept.</param>
/// <param name="Phases">Names of the phases to run, in order.</param>
/// <param name="Repeat">Runs per phase.</param>
/// <param name="Layers">Whether layers are timed too.</param>
internal sealed record BenchSettings(Architecture Arch, int Width, int Height, int Batch, DType DType, DType TextDType, DType VaeDType, IReadOnlyList<string> Phases, int Repeat, bool Layers)
{
    /// <summary>The checkpoint to load; null for random weights.</summary>
    public BenchCheckpoint? Checkpoint { get; init; }
}
