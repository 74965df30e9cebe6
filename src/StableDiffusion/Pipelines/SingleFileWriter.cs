using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Models.SingleFile;
using StableDiffusion.Models.Unet;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>A model of any kind as the tensors and the metadata of a single file.</summary>
internal static class SingleFileWriter
{
    /// <summary>All tensors of a model under the names of the original layout. Dispose it before the model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="variant">See <see cref="LoadOptions.Variant"/>.</param>
    /// <exception cref="InvalidWeightsException">A tensor has no place in that layout.</exception>
    public static IWeightSource Original(ModelSource model, string? variant = null)
    {
        UnetConfig unet = model.ReadUnetConfig();
        bool xl = unet.AddTextTime;
        var parts = new List<IWeightSource>();
        try
        {
            Add("unet", "model.diffusion_model.", UnetKeys.Map(unet));
            Add("vae", "first_stage_model.", VaeKeys.Map(model.ReadVaeConfig()));
            foreach (string encoder in model.TextEncoders)
            {
                bool openClip = encoder == "text_encoder_2" || (!xl && model.ReadTextEncoderConfig(encoder).HiddenAct != Native.Activation.QuickGelu);
                string prefix = !xl ? (openClip ? "cond_stage_model.model." : "cond_stage_model.transformer.")
                    : !openClip ? "conditioner.embedders.0.transformer."
                    : model.Has("text_encoder") ? "conditioner.embedders.1.model." : "conditioner.embedders.0.model.";
                Add(encoder, prefix, openClip ? ClipKeys.OpenClip(model.ReadTextEncoderConfig(encoder).NumHiddenLayers) : ClipKeys.HuggingFace());
            }
            return new JoinedWeights(model.Path, parts);
        }
        catch
        {
            parts.ForEach(part => part.Dispose());
            throw;
        }

        void Add(string component, string prefix, KeyMap map)
        {
            IWeightSource weights = model.OpenWeights(component, component == "unet" || model is ModelFolder ? variant : null);
            parts.Add(weights);
            parts[^1] = new MappedWeights(weights, map.ToOriginal(Wanted(model, component, weights.Names!), prefix), ownsInner: true);
        }
    }

    /// <summary>The tensors of a component that its configuration has a use for.</summary>
    public static IEnumerable<string> Wanted(ModelSource model, string component, IEnumerable<string> names)
    {
        bool projects = !component.StartsWith("text_encoder", StringComparison.Ordinal) || model.ReadTextEncoderConfig(component).WithProjection;
        return names.Where(name => !name.EndsWith("position_ids", StringComparison.Ordinal) && (projects || !name.StartsWith("text_projection", StringComparison.Ordinal)));
    }

    /// <summary>
    /// The metadata that makes the file complete: what shapes do not tell (heads, norm groups, scheduler) and, where it is not CLIP's own, the
    /// tokenizer. The files of the diffusers layout stand in it as they are.
    /// </summary>
    public static Dictionary<string, string> Metadata(ModelSource model, IReadOnlyDictionary<string, string> files)
    {
        var stored = new JsonObject();
        foreach ((string name, string text) in files)
        {
            stored[name] = name.EndsWith(".json", StringComparison.Ordinal) ? JsonNode.Parse(text) : text;
        }
        return new Dictionary<string, string>
        {
            ["format"] = "pt",
            [SingleFileModel.ConfigKey] = stored.ToJsonString(new JsonSerializerOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }),
        };
    }
}
