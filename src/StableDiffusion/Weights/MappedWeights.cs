using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace StableDiffusion.Weights;

/// <summary>
/// The tensors of another source under other names, cut, joined, transposed or reshaped: so a checkpoint of one layout is read as one of
/// another without a copy of it. Types stay as stored. Nothing is read before it is asked for.
/// </summary>
public sealed class MappedWeights : IWeightSource
{
    private readonly IWeightSource inner;
    private readonly bool ownsInner;
    private readonly Dictionary<string, TensorMapping> mappings;

    /// <summary>Creates a view of a source.</summary>
    /// <param name="inner">Where the tensors are.</param>
    /// <param name="mappings">New names, and what is behind them. Mappings whose tensors the source does not have are left out.</param>
    /// <param name="ownsInner">Dispose the source with this one.</param>
    /// <exception cref="InvalidWeightsException">A tensor has not the shape that its mapping asks for.</exception>
    public MappedWeights(IWeightSource inner, IEnumerable<KeyValuePair<string, TensorMapping>> mappings, bool ownsInner = false)
    {
        ArgumentNullException.ThrowIfNull(inner);
        ArgumentNullException.ThrowIfNull(mappings);
        (this.inner, this.ownsInner) = (inner, ownsInner);
        this.mappings = new Dictionary<string, TensorMapping>(StringComparer.Ordinal);
        foreach ((string name, TensorMapping mapping) in mappings)
        {
            if (mapping.Sources.All(source => inner.Find(source, []) is not null))
            {
                this.mappings.Add(name, mapping);
                _ = Resolve(mapping);
            }
        }
        string[] names = [.. this.mappings.Keys];
        Array.Sort(names, StringComparer.Ordinal);
        Names = names;
    }

    /// <inheritdoc/>
    public string Location => inner.Location;

    /// <inheritdoc/>
    public IReadOnlyList<string> Names { get; }

    /// <inheritdoc/>
    public WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape) => mappings.TryGetValue(name, out TensorMapping? mapping) ? Resolve(mapping) : null;

    /// <inheritdoc/>
    public void Read(string name, WeightInfo info, Span<byte> destination)
    {
        if (!mappings.TryGetValue(name, out TensorMapping? mapping))
        {
            throw new InvalidWeightsException($"'{Location}' has no tensor {SafetensorsHeader.Quote(name)}.");
        }
        WeightInfo made = Resolve(mapping);
        if (destination.Length != made.ByteCount)
        {
            throw new ArgumentException($"The tensor '{name}' has {made.ByteCount} bytes, but the destination has {destination.Length}.", nameof(destination));
        }
        bool whole = mapping.Parts == 1 && mapping.Change != TensorChange.Transpose;
        if (!whole)
        {
            ReadChanged(mapping, made, destination);
            return;
        }
        foreach (string source in mapping.Sources)
        {
            WeightInfo stored = inner.Find(source, [])!;
            inner.Read(source, stored, destination[..(int)stored.ByteCount]);
            destination = destination[(int)stored.ByteCount..];
        }
    }

    /// <summary>The file, and the name that the tensor has there where it is another one.</summary>
    public string Describe(string name)
    {
        if (!mappings.TryGetValue(name, out TensorMapping? mapping))
        {
            return Location;
        }
        string source = mapping.Sources[0], file = inner.Describe(source);
        return source == name ? file : $"{file}: {source}";
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (ownsInner)
        {
            inner.Dispose();
        }
    }

    private void ReadChanged(TensorMapping mapping, WeightInfo made, Span<byte> destination)
    {
        // One source only, which Resolve checks.
        string source = mapping.Sources[0];
        WeightInfo stored = inner.Find(source, [])!;
        using HostTensor whole = new(source, stored);
        inner.Read(source, stored, whole.Bytes);
        int bytes = (int)(stored.ByteCount / mapping.Parts);
        ReadOnlySpan<byte> part = whole.Bytes.Slice(mapping.Part * bytes, bytes);
        if (mapping.Change != TensorChange.Transpose)
        {
            part.CopyTo(destination);
            return;
        }
        (int rows, int columns) = ((int)made.Shape[1], (int)made.Shape[0]);
        switch (stored.DType.Size())
        {
            case 1:
                Transpose(part, destination, rows, columns);
                break;
            case 2:
                Transpose(MemoryMarshal.Cast<byte, ushort>(part), MemoryMarshal.Cast<byte, ushort>(destination), rows, columns);
                break;
            case 4:
                Transpose(MemoryMarshal.Cast<byte, uint>(part), MemoryMarshal.Cast<byte, uint>(destination), rows, columns);
                break;
            default:
                Transpose(MemoryMarshal.Cast<byte, ulong>(part), MemoryMarshal.Cast<byte, ulong>(destination), rows, columns);
                break;
        }
    }

    private static void Transpose<T>(ReadOnlySpan<T> from, Span<T> to, int rows, int columns)
    {
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                to[column * rows + row] = from[row * columns + column];
            }
        }
    }

    /// <summary>Type and shape of what a mapping makes.</summary>
    private WeightInfo Resolve(TensorMapping mapping)
    {
        string first = mapping.Sources[0];
        WeightInfo info = inner.Find(first, [])!;
        ImmutableArray<long> shape = info.Shape;
        if (mapping.Sources.Count > 1)
        {
            long rows = 0;
            foreach (string source in mapping.Sources)
            {
                WeightInfo other = inner.Find(source, [])!;
                if (other.DType != info.DType || shape.IsEmpty || other.Shape.Length != shape.Length || !other.Shape.AsSpan()[1..].SequenceEqual(shape.AsSpan()[1..]))
                {
                    throw Bad(source, other, $"does not fit below {SafetensorsHeader.Quote(first)}, {info}");
                }
                rows += other.Shape[0];
            }
            shape = shape.SetItem(0, rows);
        }
        if (mapping.Parts > 1)
        {
            shape = shape.Length > 0 && shape[0] % mapping.Parts == 0
                ? shape.SetItem(0, shape[0] / mapping.Parts)
                : throw Bad(first, info, $"cannot be cut into {mapping.Parts} equal groups of rows");
        }
        shape = mapping.Change switch
        {
            TensorChange.Transpose => shape.Length == 2 ? [shape[1], shape[0]] : throw Bad(first, info, "is no matrix and cannot be transposed"),
            TensorChange.Squeeze when shape.Length == 4 => shape[2] == 1 && shape[3] == 1 ? shape[..2] : throw Bad(first, info, "is no kernel of a 1x1 convolution"),
            TensorChange.Unsqueeze when shape.Length == 2 => [.. shape, 1, 1],
            _ => shape,
        };
        return info with { Shape = shape };
    }

    private InvalidWeightsException Bad(string name, WeightInfo info, string why) =>
        new($"The tensor {SafetensorsHeader.Quote(name)} in '{inner.Describe(name)}', {info}, {why}.");
}
