using System.Diagnostics;
using StableDiffusion.Models;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Bench;

/// <summary>A checkpoint that <c>bench</c> loads, in place of random weights.</summary>
/// <param name="Path">Folder or file.</param>
/// <param name="Options">How its weights are kept.</param>
internal sealed record BenchCheckpoint(string Path, LoadOptions Options)
{
    /// <summary>What it is, from its configs.</summary>
    /// <exception cref="IOException">Files missing or damaged.</exception>
    /// <exception cref="NotSupportedException">A model of another family.</exception>
    internal Architecture Describe()
    {
        using ModelSource model = ModelSource.Open(Path);
        return new Architecture(model.Name, model.Name, model.ReadUnetConfig(), model.ReadVaeConfig(), [.. model.TextEncoders.Select(model.ReadTextEncoderConfig)]);
    }

    /// <summary>Bytes of the tensors in its files.</summary>
    internal long Bytes()
    {
        using ModelSource model = ModelSource.Open(Path);
        long bytes = 0;
        foreach (string component in (string[])[.. model.TextEncoders, "unet", "vae"])
        {
            using IWeightSource weights = model.OpenWeights(component, Options.Variant);
            bytes += weights.Names!.Sum(name => weights.Find(name, [])!.ByteCount);
        }
        return bytes;
    }

    /// <summary>Loads it as <c>generate</c> does: configs, tokenizers, weights.</summary>
    /// <param name="device">Where to.</param>
    /// <param name="runs">How many times; all but the last are freed at once.</param>
    /// <param name="cancellation">Stops between two tensors.</param>
    /// <returns>The parts, and what the fastest run took.</returns>
    internal (PipelineComponents Parts, double Seconds) Load(Device device, int runs, CancellationToken cancellation)
    {
        double best = double.PositiveInfinity;
        for (int run = 1; ; run++)
        {
            long start = Stopwatch.GetTimestamp();
            PipelineComponents parts = PipelineComponents.Load(Path, device, Options, cancellation);
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
            if (run == runs)
            {
                return (parts, best);
            }
            parts.DisposeParts();
        }
    }
}
