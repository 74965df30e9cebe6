using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>Which way a pair of names is used.</summary>
internal enum KeyDirection
{
    /// <summary>Both ways.</summary>
    Both,

    /// <summary>For reading original files only: another spelling there.</summary>
    FromOriginal,

    /// <summary>For writing original files only: another spelling in diffusers' files.</summary>
    ToOriginal,
}

/// <summary>Two names of a tensor, or of a module with all tensors below it.</summary>
/// <param name="Original">Name in the layout of the original training code, without the component's prefix.</param>
/// <param name="Diffusers">Name in diffusers' file of the component.</param>
/// <param name="Part">Which of <paramref name="Parts"/> equal groups of the original's rows it is.</param>
/// <param name="Parts">How many diffusers tensors the original joins.</param>
/// <param name="Change">What happens on the way from the original.</param>
/// <param name="Direction">Which way the pair is used.</param>
internal sealed record KeyPair(string Original, string Diffusers, int Part = 0, int Parts = 1, TensorChange Change = TensorChange.None, KeyDirection Direction = KeyDirection.Both);

/// <summary>The names of a component in the original layout and in diffusers', as pairs that are read both ways.</summary>
internal sealed class KeyMap
{
    private readonly ILookup<string, KeyPair> _byOriginal, _byDiffusers;

    public KeyMap(IEnumerable<KeyPair> pairs)
    {
        KeyPair[] all = [.. pairs];
        _byOriginal = all.Where(pair => pair.Direction != KeyDirection.ToOriginal).ToLookup(pair => pair.Original, StringComparer.Ordinal);
        _byDiffusers = all.Where(pair => pair.Direction != KeyDirection.FromOriginal).ToLookup(pair => pair.Diffusers, StringComparer.Ordinal);
    }

    /// <summary>Diffusers names, and how each is made of the tensors of an original file. Names without a pair are left out.</summary>
    /// <param name="names">Names in the original file; those without <paramref name="prefix"/> are passed over.</param>
    /// <param name="prefix">What the component's names begin with, with its dot; empty for a file of one component.</param>
    public Dictionary<string, TensorMapping> FromOriginal(IEnumerable<string> names, string prefix)
    {
        var mappings = new Dictionary<string, TensorMapping>(StringComparer.Ordinal);
        foreach (string name in names.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)))
        {
            string inner = name[prefix.Length..];
            foreach ((KeyPair pair, string tail) in Match(_byOriginal, inner))
            {
                mappings.TryAdd(pair.Diffusers + tail, new TensorMapping([name], pair.Part, pair.Parts, pair.Change));
            }
        }
        return mappings;
    }

    /// <summary>Names of the original layout, and how each is made of diffusers' tensors.</summary>
    /// <param name="names">Diffusers' names of the component.</param>
    /// <param name="prefix">What the original names shall begin with.</param>
    /// <exception cref="InvalidWeightsException">A name has no place in the original layout.</exception>
    public Dictionary<string, TensorMapping> ToOriginal(IEnumerable<string> names, string prefix)
    {
        var joined = new Dictionary<string, (string?[] Sources, TensorChange Change)>(StringComparer.Ordinal);
        foreach (string name in names)
        {
            (KeyPair pair, string tail) = Match(_byDiffusers, name).FirstOrDefault();
            if (pair is null)
            {
                throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(name)} has no place in the layout of a single file.");
            }
            string original = prefix + pair.Original + tail;
            if (!joined.TryGetValue(original, out (string?[] Sources, TensorChange) entry))
            {
                TensorChange back = pair.Change == TensorChange.Squeeze ? TensorChange.Unsqueeze : pair.Change;
                joined[original] = entry = (new string?[pair.Parts], back);
            }
            entry.Sources[pair.Part] = name;
        }
        return joined.ToDictionary(
            entry => entry.Key,
            entry => entry.Value.Sources.All(source => source is not null)
                ? new TensorMapping(entry.Value.Sources!, Change: entry.Value.Change)
                : throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(entry.Key)} cannot be made: of its {entry.Value.Sources.Length} parts only {string.Join(", ", entry.Value.Sources.Where(s => s is not null))} are there."),
            StringComparer.Ordinal);
    }

    /// <summary>The pairs of a name: those of the name itself, else of the nearest module above it that has some.</summary>
    private static IEnumerable<(KeyPair Pair, string Tail)> Match(ILookup<string, KeyPair> pairs, string name)
    {
        for (int end = name.Length; end > 0; end = name.LastIndexOf('.', end - 1))
        {
            string module = name[..end];
            if (pairs.Contains(module))
            {
                return pairs[module].Select(pair => (pair, name[end..]));
            }
            if (end == 1)
            {
                break;
            }
        }
        return [];
    }
}
