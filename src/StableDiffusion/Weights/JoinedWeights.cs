namespace StableDiffusion.Weights;

/// <summary>Several sources of tensors as one; no two have a name in common.</summary>
internal sealed class JoinedWeights : IWeightSource
{
    private readonly IReadOnlyList<IWeightSource> parts;
    private readonly Dictionary<string, IWeightSource> partOf = new(StringComparer.Ordinal);

    /// <summary>Joins sources, which it takes over.</summary>
    /// <exception cref="ArgumentException">Two have a name in common, or one has no list of names.</exception>
    public JoinedWeights(string location, IReadOnlyList<IWeightSource> parts)
    {
        (Location, this.parts) = (location, parts);
        foreach (IWeightSource part in parts)
        {
            foreach (string name in part.Names ?? throw new ArgumentException($"'{part.Location}' has no list of tensors.", nameof(parts)))
            {
                partOf.Add(name, part);
            }
        }
        Names = [.. partOf.Keys.Order(StringComparer.Ordinal)];
    }

    public string Location { get; }

    public IReadOnlyList<string> Names { get; }

    public WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape) => partOf.TryGetValue(name, out IWeightSource? part) ? part.Find(name, expectedShape) : null;

    public void Read(string name, WeightInfo info, Span<byte> destination)
    {
        if (!partOf.TryGetValue(name, out IWeightSource? part))
        {
            throw new InvalidWeightsException($"'{Location}' has no tensor {SafetensorsHeader.Quote(name)}.");
        }
        part.Read(name, info, destination);
    }

    public string Describe(string name) => partOf.TryGetValue(name, out IWeightSource? part) ? part.Describe(name) : Location;

    public void Dispose()
    {
        foreach (IWeightSource part in parts)
        {
            part.Dispose();
        }
    }
}
