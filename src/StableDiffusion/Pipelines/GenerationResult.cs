using System.Globalization;
using StableDiffusion.Imaging;

namespace StableDiffusion.Pipelines;

/// <summary>What a generation drew, in the order prompt by prompt, image by image. Dispose it when the pixels are not needed any more.</summary>
public sealed class GenerationResult : IDisposable
{
    internal GenerationResult(IReadOnlyList<RgbImage> images, FloatTensor latents, IReadOnlyList<ulong> seeds,
        IReadOnlyList<GenerationParameters> parameters, IReadOnlyList<string> warnings, TimeSpan elapsed, TimeSpan stepTime) =>
        (Images, Latents, Seeds, Parameters, Warnings, Elapsed, StepTime) = (images, latents, seeds, parameters, warnings, elapsed, stepTime);

    /// <summary>The pictures; empty when only latents were asked for.</summary>
    public IReadOnlyList<RgbImage> Images { get; }

    /// <summary>The final latents <c>[B,4,H/8,W/8]</c>, before the division by scaling_factor.</summary>
    public FloatTensor Latents { get; }

    /// <summary>The seeds used: one for the whole batch, or one per image.</summary>
    public IReadOnlyList<ulong> Seeds { get; }

    /// <summary>Per picture, what its PNG says about how it was drawn.</summary>
    public IReadOnlyList<GenerationParameters> Parameters { get; }

    /// <summary>What the user should know, one sentence each: words of a prompt that did not fit.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>The time it took.</summary>
    public TimeSpan Elapsed { get; }

    /// <summary>Mean time of a denoise step.</summary>
    public TimeSpan StepTime { get; }

    /// <summary>Writes the pictures as PNG with their parameters inside: one to <paramref name="path"/>, several to path-0001, path-0002, ...</summary>
    /// <exception cref="IOException">Not writable, or the disk is full; no half file is left.</exception>
    public void Save(string path)
    {
        for (int i = 0; i < Images.Count; i++)
        {
            string target = Images.Count == 1 ? path : Path.Combine(Path.GetDirectoryName(path) ?? "",
                string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileNameWithoutExtension(path)}-{i + 1:0000}{Path.GetExtension(path)}"));
            Save(i, target);
        }
    }

    /// <summary>Writes one picture as PNG with its parameters inside.</summary>
    /// <exception cref="IOException">Not writable, or the disk is full; no half file is left.</exception>
    public void Save(int index, string path) => Images[index].Save(path, Parameters[index]);

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (RgbImage image in Images)
        {
            image.Dispose();
        }
    }
}
