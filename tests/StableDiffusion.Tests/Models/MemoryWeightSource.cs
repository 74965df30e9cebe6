using System.Runtime.InteropServices;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>Float32 weights that a test can tamper with, taken from a fixture's file; and a reading that fails when it shall.</summary>
internal sealed class MemoryWeightSource : IWeightSource
{
    private readonly SortedDictionary<string, (long[] Shape, float[] Values)> _tensors = new(StringComparer.Ordinal);

    private MemoryWeightSource()
    {
    }

    /// <summary>All tensors of a fixture's weights, apart from the integer ones that no layer wants.</summary>
    public static MemoryWeightSource FromFixture(params string[] parts)
    {
        var source = new MemoryWeightSource();
        TensorFile file = TensorFile.Read(OwnFixtures.PathOf(parts));
        foreach (TestTensor tensor in file.Names.Select(name => file[name]).Where(tensor => tensor.DType == "F32"))
        {
            source._tensors[tensor.Name] = ([.. tensor.Shape.Select(size => (long)size)], tensor.ToSingle());
        }
        return source;
    }

    public string Location => "tampered.safetensors";

    public IReadOnlyList<string> Names => [.. _tensors.Keys];

    /// <summary>The tensor whose reading fails.</summary>
    public string? Unreadable { get; set; }

    /// <summary>Called at every reading.</summary>
    public Action? OnRead { get; set; }

    public WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape) =>
        _tensors.TryGetValue(name, out (long[] Shape, float[] Values) tensor) ? new WeightInfo(WeightDType.Float32, [.. tensor.Shape]) : null;

    public void Read(string name, WeightInfo info, Span<byte> destination)
    {
        OnRead?.Invoke();
        if (name == Unreadable)
        {
            throw new InvalidWeightsException($"'{Location}' ends within '{name}'.");
        }
        MemoryMarshal.AsBytes(_tensors[name].Values.AsSpan()).CopyTo(destination);
    }

    public string Describe(string name) => Location;

    public void Dispose()
    {
    }

    public MemoryWeightSource Without(string name)
    {
        Assert.That(_tensors.Remove(name), $"{name} was there");
        return this;
    }

    public MemoryWeightSource With(string name, params long[] shape)
    {
        _tensors[name] = (shape, new float[shape.Aggregate(1L, (product, size) => product * size)]);
        return this;
    }

    /// <summary>Gives the tensors of matching names another name and perhaps another shape of equal size.</summary>
    public MemoryWeightSource Change(Func<string, string> rename, Func<string, long[], long[]>? reshape = null)
    {
        KeyValuePair<string, (long[] Shape, float[] Values)>[] before = [.. _tensors];
        _tensors.Clear();
        foreach ((string name, (long[] shape, float[] values)) in before)
        {
            _tensors.Add(rename(name), (reshape is null ? shape : reshape(name, shape), values));
        }
        return this;
    }
}
