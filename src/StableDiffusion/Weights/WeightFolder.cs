namespace StableDiffusion.Weights;

/// <summary>
/// Finds the weights in one component folder of the diffusers layout (<c>unet</c>, <c>vae</c>, <c>text_encoder</c>):
/// <c>diffusion_pytorch_model.safetensors</c> or <c>model.safetensors</c>, or PyTorch's <c>diffusion_pytorch_model.bin</c> or
/// <c>pytorch_model.bin</c>, whole or sharded, in full precision or in a variant such as <c>fp16</c>.
/// </summary>
public static class WeightFolder
{
    private static readonly string[] SafetensorsNames = ["diffusion_pytorch_model", "model"];
    private static readonly string[] TorchNames = ["diffusion_pytorch_model", "pytorch_model"];

    /// <summary>Opens the weights of a component.</summary>
    /// <param name="folder">The component's folder.</param>
    /// <param name="variant">
    /// Which variant to take, as diffusers' <c>variant</c>: "fp16", "non_ema". Null takes the file without a variant, or, if there
    /// is none, the fp16 one. A safetensors file is preferred to one of PyTorch, even if only the latter is without a variant.
    /// </param>
    /// <exception cref="InvalidWeightsException">The folder is missing or has no such weights, or they cannot be used.</exception>
    public static IWeightSource Open(string folder, string? variant = null) => WeightFile.Open(Find(folder, variant));

    /// <summary>Finds the file that <see cref="Open"/> opens: a file of weights or an index of shards.</summary>
    /// <exception cref="InvalidWeightsException">The folder is missing or has no such weights.</exception>
    public static string Find(string folder, string? variant = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(folder))
        {
            throw new InvalidWeightsException($"'{folder}' cannot be loaded: there is no such folder.");
        }

        string?[] variants = variant is null ? [null, "fp16"] : [variant];
        foreach ((string[] names, string extension) in new[] { (SafetensorsNames, "safetensors"), (TorchNames, "bin") })
        {
            string? found = variants.SelectMany(v => names.SelectMany(name => Candidates(name, v, extension))).Select(file => Path.Combine(folder, file)).FirstOrDefault(File.Exists);
            if (found is not null)
            {
                return found;
            }
        }

        throw new InvalidWeightsException($"'{folder}' cannot be loaded: {Reason(folder, variant)}.");
    }

    // The places where releases of diffusers and transformers put the variant in an index's name.
    private static string[] Candidates(string name, string? variant, string extension) => variant is null
        ? [$"{name}.{extension}", $"{name}.{extension}.index.json"]
        :
        [
            $"{name}.{variant}.{extension}",
            $"{name}.{extension}.index.{variant}.json",
            $"{name}.{extension}.{variant}.index.json",
            $"{name}.{variant}.{extension}.index.json",
        ];

    private static string Reason(string folder, string? variant)
    {
        string wanted = variant is null ? "diffusion_pytorch_model or model with the extension .safetensors or .bin" : $"weights of the variant '{variant}'";
        string[] weights = [.. Directory.EnumerateFiles(folder).Select(f => Path.GetFileName(f)).Where(IsWeights).Order(StringComparer.Ordinal)];
        return $"it has no {wanted}{(weights.Length > 0 ? $", only {string.Join(", ", weights.Take(6))}" : "")}";
    }

    private static bool IsWeights(string file) => Path.GetExtension(file) is ".safetensors" or ".bin" or ".ckpt" or ".pt" or ".pth" or ".onnx" or ".msgpack" or ".h5";
}
