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

    public WeightInfo Expect() => Scope.Expect(Name, Shape);
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

    /// <summary>Reads the tensors, by way of the buffer, and packs them.</summary>
    internal void Load(Device device, DType storage, ReadBuffer buffer)
    {
        if (storage == DType.Int8 && !BytesPay)
        {
            storage = DType.Float32;
        }
        StoredTensor[] tensors = [.. _parts, .. _biases];
        WeightInfo[] infos = Array.ConvertAll(tensors, tensor => tensor.Expect());
        Memory<byte>[] blocks = buffer.Lay([.. tensors.Zip(infos, (tensor, info) => tensor.Scope.BytesOf(tensor.Name, info))]);
        var views = new HostView[tensors.Length];
        for (int i = 0; i < tensors.Length; i++)
        {
            tensors[i].Scope.Read(tensors[i].Name, infos[i], blocks[i].Span);
            // The first numbers of WeightDType are those of sdn.h, and a layer's weight has one of them.
            views[i] = new HostView(blocks[i], (DType)infos[i].DType, [.. infos[i].Shape]);
        }
        HostView[] parts = views[.._parts.Length], biases = views[_parts.Length..];
        _weight = Weight.Create(device, _kind, storage, _geglu ? Halves(parts) : parts, _geglu ? Halves(biases) : biases, _geglu, _doubles);
    }

    // Fewer outputs leave a panel empty, and fewer terms cost more to round than they save. Latents' few channels go into the first convolution and
    // come out of the last, where an error is seen most.
    private bool BytesPay =>
        _kind is WeightKind.Matrix or WeightKind.Conv2d && _parts[0].Shape is [>= 32, long inputs, ..] shape && inputs % 4 == 0 &&
        shape.Skip(1).Aggregate(1L, (product, size) => product * size) >= 64;

    /// <summary>diffusers stores GEGLU as one tensor: the values' rows, then the gates'.</summary>
    private static HostView[] Halves(HostView[] views) =>
        [.. views.SelectMany<HostView, HostView>(view => [view.Rows(0, view.Shape[0] / 2), view.Rows(view.Shape[0] / 2, view.Shape[0] / 2)])];
}
