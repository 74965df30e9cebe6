using StableDiffusion.Models.SingleFile;
using StableDiffusion.Models.Vae;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>A VAE that is given beside a model: a folder of diffusers, or a file of original or diffusers names, with or without a prefix.</summary>
internal static class VaeFile
{
    private static readonly string[] Prefixes = ["", "first_stage_model.", "vae."];

    /// <summary>Opens one.</summary>
    /// <param name="path">The folder or file.</param>
    /// <param name="model">The model it is for, whose scaling factor a file takes over: it has none of its own.</param>
    /// <param name="variant">For a folder, as for <see cref="WeightFolder.Open"/>.</param>
    /// <exception cref="IOException">It is missing or damaged; the text says what.</exception>
    /// <exception cref="NotSupportedException">It is no VAE of Stable Diffusion.</exception>
    public static (VaeConfig Config, IWeightSource Weights) Open(string path, ModelSource model, string? variant)
    {
        if (Directory.Exists(path))
        {
            // The folder of a whole model has it inside.
            string folder = File.Exists(Path.Combine(path, "model_index.json")) ? Path.Combine(path, "vae") : path;
            return (VaeConfig.Read(folder), WeightFolder.Open(folder, variant));
        }
        IWeightSource source = WeightFile.Open(path);
        try
        {
            string prefix = Prefixes.FirstOrDefault(prefix => source.Find(prefix + "decoder.conv_in.weight", []) is not null)
                ?? throw ForeignFamily.Refusal(path, ForeignFamily.Find(source.Names ?? []) ?? "no VAE (it has no decoder.conv_in.weight)");
            if (Stored(source) is { } stored)
            {
                return (stored, new MappedWeights(source, SingleFileLayout.VaeMappings(source, prefix, stored), ownsInner: true));
            }
            VaeConfig shape = VaeShape.Derive(new StoredShapes(source, prefix));
            VaeConfig config = model.Has("vae") && model.ReadVaeConfig() is var own
                ? shape with { ScalingFactor = own.ScalingFactor, ForceUpcast = own.ForceUpcast, SampleSize = own.SampleSize }
                : FamilyDefaults.Vae(model is SingleFileModel { Kind.Family: var family } ? family : ModelFamily.StableDiffusion1, shape, model.ReadUnetConfig().SampleSize?.Height ?? 64);
            return (config, new MappedWeights(source, SingleFileLayout.VaeMappings(source, prefix, config), ownsInner: true));
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>The configuration in the metadata of a whole model that was converted.</summary>
    private static VaeConfig? Stored(IWeightSource source) =>
        (source as SafetensorsFile)?.Metadata.GetValueOrDefault(SingleFileModel.ConfigKey) is { } config && SingleFileLayout.ReadStored(source.Location, config).GetValueOrDefault("vae/config.json") is { } vae
            ? VaeConfig.Read(Models.ConfigReader.Parse($"{source.Location}: vae/config.json", vae))
            : null;
}
