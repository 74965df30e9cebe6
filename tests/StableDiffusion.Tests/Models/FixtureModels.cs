using System.Collections.Concurrent;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Tests.Models;

/// <summary>The small models below a fixture folder on one device, each loaded once when first asked for.</summary>
internal sealed class FixtureModels(Device device, string root, DType storage = DType.Float32) : IDisposable
{
    private readonly ConcurrentDictionary<string, Lazy<Layer>> _models = new();

    /// <summary>The device they are on.</summary>
    public Device Device { get; } = device;

    public UNet2DConditionModel Unet(string family) => Get(family, "unet", folder => UNet2DConditionModel.Load(folder, Device, storage));

    public AutoencoderKL Vae(string family) => Get(family, "vae", folder => AutoencoderKL.Load(folder, Device, storage));

    public ClipTextModel TextEncoder(string family, string component = "text_encoder") => Get(family, component, folder => ClipTextModel.Load(folder, Device, storage));

    public void Dispose()
    {
        foreach (Lazy<Layer> model in _models.Values.Where(model => model.IsValueCreated))
        {
            model.Value.Dispose();
        }
    }

    private TModel Get<TModel>(string family, string component, Func<string, TModel> load) where TModel : Layer =>
        (TModel)_models.GetOrAdd($"{family}/{component}", _ => new Lazy<Layer>(() => load(Path.Combine(root, "models", family, component)))).Value;
}
