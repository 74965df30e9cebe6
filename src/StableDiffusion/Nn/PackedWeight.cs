using System.Buffers;
using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Nn;

/// <summary>A tensor that a weight is made of, as the checkpoint stores it.</summary>
/// <param name="Scope">Where it stands.</param>
/// <param name="Name">Its name there: "weight" or "bias".</param>
/// <param name="Shape">The shape it must have.</param>
internal readonly record struct StoredTensor(WeightScope Scope, string Name, long[] Shape)
{
    public long Count => Shape.Aggregate(1L, (product, size) => product * size);

    public void Expect() => Scope.Expect(Name, Shape);

    public HostTensor Read() => Scope.ReadTensor(Name, Shape);
}

/// <summary>
/// A weight of a layer: declared with its tensors when the layer is made, packed for the device when the model is loaded. Until then its
/// size is known but it cannot be used.
/// </summary>
public sealed class PackedWeight : IDisposable
{
    private readonly WeightKind _kind;
    private readonly StoredTensor[] _parts;
    private readonly StoredTensor[] _biases;
    private readonly bool _geglu;
    private readonly bool _doubles;
    private Weight? _weight;

    internal PackedWeight(WeightKind kind, StoredTensor[] parts, StoredTensor[] biases, bool geglu = false, bool doubles = false) =>
        (_kind, _parts, _biases, _geglu, _doubles) = (kind, parts, biases, geglu, doubles);

    /// <summary>Number of stored values it is made of, biases included.</summary>
    public long ParameterCount => _parts.Sum(part => part.Count) + _biases.Sum(bias => bias.Count);

    /// <summary>Device memory, in bytes; 0 before it is loaded.</summary>
    public long Bytes => _weight?.Bytes ?? 0;

    /// <summary>The weight for ops.</summary>
    /// <exception cref="InvalidOperationException">It was not loaded yet.</exception>
    public Weight Value =>
        _weight ?? throw new InvalidOperationException($"The weight '{_parts[0].Scope.Path}' was not loaded: call LayerBuilder.Load before Forward.");

    /// <inheritdoc />
    public void Dispose() => _weight?.Dispose();

    /// <summary>Checks that every tensor is there with the right shape, without reading it.</summary>
    internal void Expect()
    {
        foreach (StoredTensor tensor in _parts.Concat(_biases))
        {
            tensor.Expect();
        }
    }

    /// <summary>Reads the tensors and packs them.</summary>
    internal void Load(Device device, DType storage)
    {
        var tensors = new List<HostTensor>(_parts.Length + _biases.Length);
        try
        {
            HostView[] parts = Read(_parts, tensors), biases = Read(_biases, tensors);
            _weight = Weight.Create(device, _kind, storage, _geglu ? Halves(parts) : parts, _geglu ? Halves(biases) : biases, _geglu, _doubles);
        }
        finally
        {
            tensors.ForEach(tensor => tensor.Dispose());
        }
    }

    private static HostView[] Read(StoredTensor[] stored, List<HostTensor> tensors)
    {
        var views = new HostView[stored.Length];
        for (int i = 0; i < stored.Length; i++)
        {
            HostTensor tensor = stored[i].Read();
            tensors.Add(tensor);
            // The first numbers of WeightDType are those of sdn.h, and a layer's weight has one of them.
            views[i] = new HostView(new HostTensorMemory(tensor).Memory, (DType)tensor.DType, [.. tensor.Shape]);
        }
        return views;
    }

    /// <summary>diffusers stores GEGLU as one tensor: the values' rows, then the gates'.</summary>
    private static HostView[] Halves(HostView[] views) =>
        [.. views.SelectMany<HostView, HostView>(view => [view.Rows(0, view.Shape[0] / 2), view.Rows(view.Shape[0] / 2, view.Shape[0] / 2)])];

    /// <summary>Lets memory outside the garbage-collected heap pass as <see cref="Memory{T}"/>. The tensor stays its owner.</summary>
    private sealed unsafe class HostTensorMemory(HostTensor tensor) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => tensor.Bytes;

        public override MemoryHandle Pin(int elementIndex = 0) => new((byte*)tensor.Address + elementIndex);

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
