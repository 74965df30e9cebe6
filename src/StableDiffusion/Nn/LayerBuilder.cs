using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.ExceptionServices;
using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Nn;

/// <summary>
/// A place in a model that is being built: the path of a layer and where its weights stand. Layers are made first, which only declares
/// their weights; <see cref="Load"/> then checks all of them and packs them over all cores at once.
/// <code>
/// var root = new LayerBuilder(device, DType.Float32, new WeightScope(source));
/// var resnet = new ResnetBlock2D(root["down_blocks"][0]["resnets"][1], ...);
/// root.Load();
/// </code>
/// </summary>
public sealed class LayerBuilder
{
    private readonly LayerBuilder? _parent;
    private readonly List<PackedWeight> _weights;
    private Layer? _layer;

    /// <summary>The root of a model.</summary>
    /// <param name="device">Where the weights go.</param>
    /// <param name="storage">
    /// How they are kept: Float32, Float16 or BFloat16. Norms and biases stay in Float32. Int8: matrices and convolutions where bytes pay (at least 64
    /// terms of inputs in fours, 32 outputs), the rest in Float32.
    /// </param>
    /// <param name="scope">Where they come from; its source must stay open until <see cref="Load"/> returns.</param>
    public LayerBuilder(Device device, DType storage, WeightScope scope)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(scope);
        if (storage is not (DType.Float32 or DType.Float16 or DType.BFloat16 or DType.Int8))
        {
            throw new ArgumentException($"Weights are kept as Float32, Float16, BFloat16 or Int8, not as {storage}.", nameof(storage));
        }
        (Device, Storage, Scope, Path, _weights) = (device, storage, scope, "", []);
    }

    private LayerBuilder(LayerBuilder parent, string name, WeightScope scope)
    {
        (Device, Storage, Scope, _weights, _parent) = (parent.Device, parent.Storage, scope, parent._weights, parent);
        Path = parent.Path.Length == 0 ? name : $"{parent.Path}.{name}";
    }

    /// <summary>Where the weights go.</summary>
    public Device Device { get; }

    /// <summary>How the weights are kept.</summary>
    public DType Storage { get; }

    /// <summary>The type of the activations that go with them, see <see cref="Device.ActivationDType"/>.</summary>
    public DType ActivationDType => Device.ActivationDType(Storage);

    /// <summary>Where this place's weights stand.</summary>
    public WeightScope Scope { get; }

    /// <summary>Path in the model; empty at the root.</summary>
    public string Path { get; }

    /// <summary>The place one name (or several, joined by dots) further down.</summary>
    public LayerBuilder this[string name] => At(name, Scope[name]);

    /// <summary>The place of a numbered part, such as a block in a list.</summary>
    public LayerBuilder this[int index] => this[index.ToString(CultureInfo.InvariantCulture)];

    /// <summary>The place of that name in the model whose weights stand elsewhere in the file, because it is older or newer.</summary>
    public LayerBuilder At(string name, WeightScope scope) => new(this, name, scope);

    /// <summary>
    /// Checks that each declared weight is there with the right shape and that the file has no others, then reads and packs them over
    /// all cores.
    /// </summary>
    /// <param name="ignored">Keys that may stay unread, as <see cref="WeightScope.ThrowIfUnread"/> takes them.</param>
    /// <param name="cancellation">Stops between two weights.</param>
    /// <exception cref="InvalidWeightsException">A tensor is missing, has another shape, is not wanted or cannot be read.</exception>
    /// <exception cref="OutOfDeviceMemoryException">The weights do not fit.</exception>
    /// <remarks>When it throws, no weight stays allocated.</remarks>
    public void Load(IReadOnlyList<string>? ignored = null, CancellationToken cancellation = default)
    {
        foreach (PackedWeight weight in _weights)
        {
            weight.Expect();
        }
        Scope.ThrowIfUnread([.. ignored ?? []]);
        var buffers = new ConcurrentBag<ReadBuffer>();
        try
        {
            // One at a time and in order: the sizes differ a thousandfold, and a disk likes its reads in sequence.
            Parallel.ForEach(
                Partitioner.Create(_weights, EnumerablePartitionerOptions.NoBuffering),
                new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
                weight =>
                {
                    cancellation.ThrowIfCancellationRequested();
                    ReadBuffer buffer = buffers.TryTake(out ReadBuffer? free) ? free : new ReadBuffer();
                    try
                    {
                        weight.Load(Device, Storage, buffer);
                    }
                    finally
                    {
                        buffers.Add(buffer);
                    }
                });
        }
        catch (Exception failure)
        {
            _weights.ForEach(weight => weight.Dispose());
            ExceptionDispatchInfo.Throw(failure is AggregateException several ? several.InnerExceptions[0] : failure);
        }
        finally
        {
            foreach (ReadBuffer buffer in buffers)
            {
                buffer.Dispose();
            }
        }
    }

    /// <summary>Declares the weight of a linear layer <c>[outputs, inputs]</c>, or of a 1x1 convolution, which is the same product.</summary>
    internal PackedWeight Matrix(long inputs, long outputs, bool bias, bool pointwiseConvolution = false) =>
        Stacked(inputs, outputs, bias, pointwiseConvolution, Scope);

    /// <summary>Declares several linear layers of equal size over one input as one weight: query | key | value.</summary>
    internal PackedWeight Stacked(long inputs, long outputs, bool bias, bool pointwiseConvolution, params ReadOnlySpan<WeightScope> parts)
    {
        long[] shape = pointwiseConvolution ? [outputs, inputs, 1, 1] : [outputs, inputs];
        return Declare(WeightKind.Matrix, shape, bias, parts);
    }

    /// <summary>Declares value and gate of a GEGLU, stored as one tensor <c>[2*outputs, inputs]</c>.</summary>
    internal PackedWeight Geglu(long inputs, long outputs, WeightScope part) =>
        Declare(WeightKind.Matrix, [2 * outputs, inputs], bias: true, [part], geglu: true);

    /// <summary>Declares the weight of a convolution <c>[outputs, inputs, kernel, kernel]</c> ; one that <paramref name="doubles"/> sees enlarged images.</summary>
    internal PackedWeight Convolution(long inputs, long outputs, int kernel, bool doubles, bool bias) =>
        Declare(WeightKind.Conv2d, [outputs, inputs, kernel, kernel], bias, [Scope], doubles: doubles);

    /// <summary>Declares scale and shift of a norm.</summary>
    internal PackedWeight Norm(long channels) => Declare(WeightKind.Norm, [channels], bias: true, [Scope]);

    /// <summary>Declares a table of rows.</summary>
    internal PackedWeight Table(long rows, long columns) => Declare(WeightKind.Embedding, [rows, columns], bias: false, [Scope]);

    /// <summary>Hangs a new layer below the nearest one above it.</summary>
    internal void Claim(Layer layer)
    {
        if (_layer is not null)
        {
            throw new InvalidOperationException($"'{Path}' is already {_layer}.");
        }
        _layer = layer;
        for (LayerBuilder? above = _parent; above is not null; above = above._parent)
        {
            if (above._layer is { } owner)
            {
                owner.Add(layer);
                return;
            }
        }
    }

    private PackedWeight Declare(WeightKind kind, long[] shape, bool bias, ReadOnlySpan<WeightScope> scopes, bool geglu = false, bool doubles = false)
    {
        var parts = new StoredTensor[scopes.Length];
        var biases = new StoredTensor[bias ? scopes.Length : 0];
        for (int i = 0; i < scopes.Length; i++)
        {
            parts[i] = new StoredTensor(scopes[i], "weight", shape);
            if (bias)
            {
                biases[i] = new StoredTensor(scopes[i], "bias", [shape[0]]);
            }
        }
        var weight = new PackedWeight(kind, parts, biases, geglu, doubles);
        _weights.Add(weight);
        (_layer ?? throw new InvalidOperationException($"'{Path}' has no layer yet that the weight could belong to.")).Add(weight);
        return weight;
    }
}
