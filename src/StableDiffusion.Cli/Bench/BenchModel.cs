using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Bench;

/// <summary>The components of an architecture that some phases need, with random weights, all in memory together as in a pipeline.</summary>
internal sealed class BenchModel : IDisposable
{
    private readonly Device _device;
    private readonly List<(Layer Component, LayerBuilder Builder)> _components = [];
    private readonly RandomWeightSource _source;

    /// <summary>Declares the components; <see cref="Load"/> makes them.</summary>
    internal BenchModel(BenchSettings settings, Device device)
    {
        _device = device;
        _source = new RandomWeightSource(seed: 0, (WeightDType)settings.DType);
        (int height, int width) = (settings.Height / settings.Arch.Vae.ScaleFactor, settings.Width / settings.Arch.Vae.ScaleFactor);
        Phases = [.. settings.Phases.Select<string, BenchPhase>(name => name switch
        {
            BenchPhase.TextEncoder => new TextEncoderPhase([.. settings.Arch.TextEncoders.Select(config => Declare(settings.DType, builder => new ClipTextModel(builder, config)))]),
            BenchPhase.UnetStep => new UnetStepPhase(Declare(settings.DType, builder => new UNet2DConditionModel(builder, settings.Arch.Unet)), settings.Batch, height, width),
            _ => new VaeDecodePhase(Declare(settings.VaeDType, builder => new AutoencoderKL(builder, settings.Arch.Vae)), settings.Batch, height, width),
        })];
    }

    /// <summary>The phases, in order.</summary>
    internal IReadOnlyList<BenchPhase> Phases { get; }

    /// <summary>What the weights would take in files of this dtype.</summary>
    internal long CheckpointBytes => _components.Sum(c => c.Component.ParameterCount * c.Builder.Storage.Size());

    /// <summary>What they take in device memory, packed.</summary>
    internal long WeightBytes => _components.Sum(c => c.Component.WeightBytes);

    /// <summary>Fills the weights.</summary>
    /// <exception cref="OutOfDeviceMemoryException">They do not fit.</exception>
    internal void Load(CancellationToken cancellation)
    {
        long free = _device.Info.FreeBytes;
        if (CheckpointBytes > free)
        {
            throw new OutOfDeviceMemoryException("Making this architecture's weights", CheckpointBytes, free, "Use --dtype bf16 or fp16, or fewer phases (--phase).");
        }
        foreach ((_, LayerBuilder builder) in _components)
        {
            builder.Load(cancellation: cancellation);
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach ((Layer component, _) in _components)
        {
            component.Dispose();
        }
        _source.Dispose();
    }

    private T Declare<T>(DType dtype, Func<LayerBuilder, T> make) where T : Layer
    {
        var builder = new LayerBuilder(_device, dtype, new WeightScope(_source));
        T component = make(builder);
        _components.Add((component, builder));
        return component;
    }
}
