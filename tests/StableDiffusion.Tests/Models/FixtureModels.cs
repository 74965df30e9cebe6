using System.Collections.Concurrent;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Models;

/// <summary>The fixtures' small models on one device, each loaded once when first asked for.</summary>
internal sealed class FixtureModels(Device device) : IDisposable
{
    private readonly ConcurrentDictionary<string, Lazy<Layer>> _models = new();

    /// <summary>The device they are on.</summary>
    public Device Device { get; } = device;

    /// <summary>Families with a whole model folder, from the fixtures' <c>models</c> folder.</summary>
    public static IEnumerable<string> Families =>
        Directory.EnumerateDirectories(Fixtures.PathOf("models")).Where(folder => Directory.Exists(Path.Combine(folder, "unet"))).Select(folder => Path.GetFileName(folder)!).Order();

    public UNet2DConditionModel Unet(string family) => Get(family, "unet", folder => UNet2DConditionModel.Load(folder, Device));

    public AutoencoderKL Vae(string family) => Get(family, "vae", folder => AutoencoderKL.Load(folder, Device));

    public ClipTextModel TextEncoder(string family, string component = "text_encoder") => Get(family, component, folder => ClipTextModel.Load(folder, Device));

    public void Dispose()
    {
        foreach (Lazy<Layer> model in _models.Values.Where(model => model.IsValueCreated))
        {
            model.Value.Dispose();
        }
    }

    private TModel Get<TModel>(string family, string component, Func<string, TModel> load) where TModel : Layer =>
        (TModel)_models.GetOrAdd($"{family}/{component}", _ => new Lazy<Layer>(() => load(Fixtures.PathOf("models", family, component)))).Value;
}
