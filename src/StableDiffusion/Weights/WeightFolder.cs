namespace StableDiffusion.Weights;

/// <summary>
/// Finds the weights in one component folder of the diffusers layout (<c>unet</c>, <c>vae</c>, <c>text_encoder</c>):
/// <c>diffusion_pytorch_model.safetensors</c> or <c>model.safetensors</c>, whole or sharded, in full precision or in a variant such
/// as <c>fp16</c>.
/// </summary>
public static class WeightFolder
{
    private static readonly string[] BaseNames = ["diffusion_pytorch_model", "model"];

    /// <summary>Opens the weights of a component.</summary>
    /// <param name="folder">The component's folder.</param>
    /// <param name="variant">
    /// Which variant to take, as diffusers' <c>variant</c>: "fp16", "non_ema". Null takes the file without a variant, or, if there
    /// is none, the fp16 one.
    /// </param>
    /// <exception cref="InvalidWeightsException">The folder is missing or has no such weights in safetensors form.</exception>
    public static IWeightSource Open(string folder, string? variant = null)
    {
        string path = Find(folder, variant);
        return path.EndsWith(".json", StringComparison.Ordinal) ? ShardedWeights.Open(path) : SafetensorsFile.Open(path);
    }

    /// <summary>Finds the file that <see cref="Open"/> opens: a safetensors file or an index of shards.</summary>
    /// <exception cref="InvalidWeightsException">The folder is missing or has no such weights in safetensors form.</exception>
    public static string Find(string folder, string? variant = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(folder))
        {
            throw new InvalidWeightsException($"'{folder}' cannot be loaded: there is no such folder.");
        }

        string?[] variants = variant is null ? [null, "fp16"] : [variant];
        foreach (string? candidateVariant in variants)
        {
            foreach (string candidate in Candidates(candidateVariant))
            {
                string path = Path.Combine(folder, candidate);
                if (File.Exists(path))
                {
                    return path;
                }
            }
        }

        throw new InvalidWeightsException($"'{folder}' cannot be loaded: {Reason(folder, variant)}.");
    }

    private static IEnumerable<string> Candidates(string? variant)
    {
        foreach (string name in BaseNames)
        {
            if (variant is null)
            {
                yield return $"{name}.safetensors";
                yield return $"{name}.safetensors.index.json";
            }
            else
            {
                // The three places where releases of diffusers and transformers put the variant in an index's name.
                yield return $"{name}.{variant}.safetensors";
                yield return $"{name}.safetensors.index.{variant}.json";
                yield return $"{name}.safetensors.{variant}.index.json";
                yield return $"{name}.{variant}.safetensors.index.json";
            }
        }
    }

    private static string Reason(string folder, string? variant)
    {
        string[] files = [.. Directory.EnumerateFiles(folder).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];
        string[] tensors = [.. files.Where(f => f.EndsWith(".safetensors", StringComparison.Ordinal))];
        string wanted = variant is null ? "diffusion_pytorch_model.safetensors or model.safetensors" : $"weights of the variant '{variant}'";
        if (tensors.Length > 0)
        {
            return $"it has no {wanted}, only {string.Join(", ", tensors.Take(6))}";
        }

        return files.FirstOrDefault(f => f.EndsWith(".bin", StringComparison.Ordinal) || f.EndsWith(".ckpt", StringComparison.Ordinal)) is { } bin
            ? $"it has {bin}, but pickled PyTorch files are not supported yet; convert it to safetensors"
            : $"it has no {wanted}";
    }
}
