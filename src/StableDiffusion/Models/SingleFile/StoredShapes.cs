using System.Collections.Immutable;
using System.Globalization;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>The shapes of a component's tensors in a file, from which its configuration is worked out.</summary>
internal sealed class StoredShapes(IWeightSource source, string prefix)
{
    /// <summary>Where they are, for messages.</summary>
    public string Location => source.Location;

    /// <summary>True if the component has the tensor.</summary>
    public bool Has(FormattableString name) => Find(Text(name)) is not null;

    /// <summary>The size of a tensor along one of its axes.</summary>
    /// <exception cref="InvalidWeightsException">It is missing, or has not so many axes.</exception>
    public int Size(FormattableString name, int axis)
    {
        string key = prefix + Text(name);
        WeightInfo info = source.Find(key, []) ?? throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(key)} is missing from '{source.Location}'.");
        return axis < info.Shape.Length && info.Shape[axis] is > 0 and <= int.MaxValue
            ? (int)info.Shape[axis]
            : throw new InvalidWeightsException($"The tensor {SafetensorsHeader.Quote(key)} in '{source.Describe(key)}' is {info}, which is no shape for it.");
    }

    /// <summary>Number of axes of a tensor; 0 where it is missing.</summary>
    public int Rank(FormattableString name) => Find(Text(name))?.Shape.Length ?? 0;

    /// <summary>How many of a numbered series there are, from 0 without a gap.</summary>
    public int Count(Func<int, FormattableString> name)
    {
        int count = 0;
        while (Has(name(count)))
        {
            count++;
        }
        return count;
    }

    private WeightInfo? Find(string name) => source.Find(prefix + name, []);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
