using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Models;

/// <summary>How every model comes from its weights.</summary>
internal static class ModelLoader
{
    /// <summary>Opens the weights of a component's folder and builds the model that <paramref name="declare"/> describes.</summary>
    public static TModel Load<TModel>(string folder, string? variant, Device device, DType storage, Func<LayerBuilder, TModel> declare,
        IReadOnlyList<string> ignored, CancellationToken cancellation)
        where TModel : Layer
    {
        using IWeightSource source = WeightFolder.Open(folder, variant);
        return Load(source, device, storage, declare, ignored, cancellation);
    }

    /// <summary>Builds the model that <paramref name="declare"/> describes. When it throws, nothing stays allocated.</summary>
    public static TModel Load<TModel>(IWeightSource source, Device device, DType storage, Func<LayerBuilder, TModel> declare,
        IReadOnlyList<string> ignored, CancellationToken cancellation)
        where TModel : Layer
    {
        var builder = new LayerBuilder(device, storage, new WeightScope(source));
        TModel model = declare(builder);
        builder.Load(ignored, cancellation);
        return model;
    }
}
