namespace StableDiffusion.Weights;

/// <summary>
/// Where tensors come from: one safetensors file, a set of shards, or random numbers. Every member may be called from several
/// threads at once until the source is disposed.
/// </summary>
public interface IWeightSource : IDisposable
{
    /// <summary>What the source is, for messages: the path of a file, an index or a folder.</summary>
    string Location { get; }

    /// <summary>
    /// Names of all stored tensors in ordinal order, or null for a source that makes up whatever is asked for
    /// (<see cref="RandomWeightSource"/>).
    /// </summary>
    IReadOnlyList<string>? Names { get; }

    /// <summary>
    /// What is stored under a name, or null if nothing is. The expected shape is a hint: a source of stored tensors answers with
    /// what it has, whatever was expected; one that makes tensors up makes that shape.
    /// </summary>
    WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape);

    /// <summary>Reads a whole tensor, packed and row-major in its stored type.</summary>
    /// <param name="name">A name for which <see cref="Find"/> gave <paramref name="info"/>.</param>
    /// <param name="info">What <see cref="Find"/> gave.</param>
    /// <param name="destination">Exactly <see cref="WeightInfo.ByteCount"/> bytes.</param>
    /// <exception cref="InvalidWeightsException">The tensor could not be read in full.</exception>
    void Read(string name, WeightInfo info, Span<byte> destination);

    /// <summary>The file that holds a tensor, for messages. For a name that is not stored: <see cref="Location"/>.</summary>
    string Describe(string name);
}
