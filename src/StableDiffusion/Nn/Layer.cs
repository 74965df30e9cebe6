using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>
/// A part of a network: packed weights, child layers and a <c>Forward</c>. Its path is that of its weights in the checkpoint, and its
/// fields carry the checkpoint's names. Immutable once loaded, so any number of threads may use one layer, each with its own exec.
/// <para>
/// Memory, for every <c>Forward</c> unless it says otherwise: inputs stay the caller's; the result is a tensor in the exec's arena that
/// the caller disposes after its last use; everything between is gone on return.
/// </para>
/// </summary>
public abstract class Layer : IDisposable
{
    private readonly List<Layer> _children = [];
    private readonly List<PackedWeight> _weights = [];

    /// <summary>Takes the builder's place in the tree of layers.</summary>
    protected Layer(LayerBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Path = builder.Path;
        (Storage, ActivationDType) = (builder.Storage, builder.ActivationDType);
        builder.Claim(this);
    }

    /// <summary>Path in the model, as diffusers names it: <c>down_blocks.0.resnets.1</c>. Empty for a model.</summary>
    public string Path { get; }

    /// <summary>How its weights are kept.</summary>
    public DType Storage { get; }

    /// <summary>The type of the activations it takes and gives.</summary>
    public DType ActivationDType { get; }

    /// <summary>The layers directly inside this one, in order of declaration.</summary>
    public IReadOnlyList<Layer> Children => _children;

    /// <summary>Number of weights and biases in this layer and those inside it; known before they are loaded.</summary>
    public long ParameterCount => _weights.Sum(weight => weight.ParameterCount) + _children.Sum(child => child.ParameterCount);

    /// <summary>Device memory of the weights in this layer and those inside it, in bytes; 0 before they are loaded.</summary>
    public long WeightBytes => _weights.Sum(weight => weight.Bytes) + _children.Sum(child => child.WeightBytes);

    /// <summary>The layer of a path, this one included.</summary>
    /// <exception cref="KeyNotFoundException">There is none; the text says what the nearest layer has.</exception>
    public Layer Find(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        Layer layer = this;
        while (layer.Path != path)
        {
            layer = layer._children.Find(child => path == child.Path || path.StartsWith(child.Path + ".", StringComparison.Ordinal))
                ?? throw new KeyNotFoundException(
                    $"There is no layer '{path}': '{layer.Path}' has {string.Join(", ", layer._children.Select(child => child.Path))}.");
        }
        return layer;
    }

    /// <summary>Frees the weights of this layer and those inside it.</summary>
    public void Dispose()
    {
        _weights.ForEach(weight => weight.Dispose());
        _children.ForEach(child => child.Dispose());
        GC.SuppressFinalize(this);
    }

    /// <inheritdoc />
    public override string ToString() => Path.Length == 0 ? GetType().Name : $"{Path} ({GetType().Name})";

    /// <summary>The layers of a type anywhere inside this one, in order of declaration.</summary>
    internal IEnumerable<T> Inside<T>() where T : Layer =>
        _children.SelectMany(child => child is T found ? child.Inside<T>().Prepend(found) : child.Inside<T>());

    internal void Add(Layer child) => _children.Add(child);

    internal void Add(PackedWeight weight) => _weights.Add(weight);

    /// <summary>Tells the exec's trace, where there is one, that this layer begins, and at the end of the scope that it ends.</summary>
    protected TraceScope Trace(Exec exec)
    {
        ArgumentNullException.ThrowIfNull(exec);
        exec.Trace?.Enter(Path, exec);
        return new TraceScope(exec, Path);
    }

    /// <summary>The span of one layer in a trace.</summary>
    protected readonly ref struct TraceScope(Exec exec, string path)
    {
        /// <summary>Ends the span.</summary>
        public void Dispose() => exec.Trace?.Leave(path, exec);
    }
}
