using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Pipelines;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Bench;

/// <summary>
/// The components of an architecture that some phases need, with random weights, or all of a checkpoint's; in memory together as in a pipeline.
/// </summary>
internal sealed class BenchModel : IDisposable
{
    private readonly BenchSettings _settings;
    private readonly Device _device;
    private readonly List<(Layer Component, LayerBuilder Builder)> _components = [];
    private readonly RandomWeightSource _source;
    private PipelineComponents? _parts;

    /// <summary>Declares the components; <see cref="Load"/> makes them.</summary>
    internal BenchModel(BenchSettings settings, Device device)
    {
        (_settings, _device) = (settings, device);
        _source = new RandomWeightSource(seed: 0, (WeightDType)settings.TextDType);
        if (settings.Checkpoint is { } checkpoint)
        {
            CheckpointBytes = checkpoint.Bytes();
            return;
        }
        Phases = PhasesOver(
            () => [.. settings.Arch.TextEncoders.Select(config => Declare(settings.TextDType, builder => new ClipTextModel(builder, config)))],
            () => Declare(settings.DType, builder => new UNet2DConditionModel(builder, settings.Arch.Unet)),
            () => Declare(settings.VaeDType, builder => new AutoencoderKL(builder, settings.Arch.Vae)));
        CheckpointBytes = _components.Sum(c => c.Component.ParameterCount * c.Builder.Storage.Size());
    }

    /// <summary>The phases that compute, in order; of a checkpoint, once it is loaded.</summary>
    internal IReadOnlyList<BenchPhase> Phases { get; private set; } = [];

    /// <summary>Bytes of the tensors in the checkpoint's files; of random weights, what they would take in files of this dtype.</summary>
    internal long CheckpointBytes { get; }

    /// <summary>What they take in device memory, packed.</summary>
    internal long WeightBytes => _parts?.WeightBytes ?? _components.Sum(c => c.Component.WeightBytes);

    /// <summary>What loading the checkpoint took; null for random weights.</summary>
    internal double? LoadSeconds { get; private set; }

    /// <summary>Loads the checkpoint, or makes the weights.</summary>
    /// <exception cref="OutOfDeviceMemoryException">They do not fit.</exception>
    internal void Load(CancellationToken cancellation)
    {
        if (_settings.Checkpoint is { } checkpoint)
        {
            (_parts, LoadSeconds) = checkpoint.Load(_device, _settings.Phases.Contains(BenchPhase.Load) ? _settings.Repeat : 1, cancellation);
            Phases = PhasesOver(() => _parts.TextEncoders, () => _parts.Unet, () => _parts.Vae);
            return;
        }
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
        _parts?.DisposeParts();
        _source.Dispose();
    }

    private BenchPhase[] PhasesOver(Func<IReadOnlyList<ClipTextModel>> encoders, Func<UNet2DConditionModel> unet, Func<AutoencoderKL> vae)
    {
        (int height, int width) = (_settings.Height / _settings.Arch.Vae.ScaleFactor, _settings.Width / _settings.Arch.Vae.ScaleFactor);
        return [.. _settings.Phases.Where(name => name != BenchPhase.Load).Select<string, BenchPhase>(name => name switch
        {
            BenchPhase.TextEncoder => new TextEncoderPhase(encoders()),
            BenchPhase.UnetStep => new UnetStepPhase(unet(), _settings.Batch, height, width),
            _ => new VaeDecodePhase(vae(), _settings.Batch, height, width),
        })];
    }

    private T Declare<T>(DType dtype, Func<LayerBuilder, T> make) where T : Layer
    {
        var builder = new LayerBuilder(_device, dtype, new WeightScope(_source));
        T component = make(builder);
        _components.Add((component, builder));
        return component;
    }
}
