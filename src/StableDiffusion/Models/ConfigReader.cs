using System.Collections.Immutable;
using System.Text.Json;

namespace StableDiffusion.Models;

/// <summary>
/// Typed reading of a diffusers <c>config.json</c>. A key that is absent or null has its default, as in diffusers; a wrong type or value
/// is an <see cref="InvalidConfigException"/> naming file and key. Keys that nobody asks for are ignored.
/// </summary>
internal sealed class ConfigReader
{
    private const long MaxBytes = 1 << 20;
    private readonly string _path;
    private readonly JsonElement _root;

    private ConfigReader(string path, JsonElement root) => (_path, _root) = (path, root);

    /// <summary>Opens <c>config.json</c> in a component's folder.</summary>
    public static ConfigReader Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        string path = Path.Combine(folder, "config.json");
        try
        {
            long bytes = new FileInfo(path).Length;
            return bytes > MaxBytes
                ? throw new InvalidConfigException($"'{path}' has {bytes} bytes, too many for a model's configuration.")
                : Parse(path, File.ReadAllText(path));
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            throw Missing(path, failure);
        }
        catch (UnauthorizedAccessException failure)
        {
            throw new InvalidConfigException($"'{path}' cannot be read: {failure.Message}", failure);
        }
    }

    /// <summary>Reads a configuration from its text.</summary>
    /// <param name="path">Where it is from, for messages.</param>
    /// <param name="json">The text; null where there is none.</param>
    public static ConfigReader Parse(string path, string? json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json ?? throw Missing(path, null), new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? new ConfigReader(path, document.RootElement.Clone())
                : throw new InvalidConfigException($"'{path}' is not a JSON object.");
        }
        catch (JsonException failure)
        {
            throw new InvalidConfigException($"'{path}' cannot be read: {failure.Message}", failure);
        }
    }

    private static InvalidConfigException Missing(string path, Exception? failure) =>
        new($"'{path}' cannot be read: there is no such file; a model's component has its config.json beside its weights.", failure!);

    /// <summary>True where the key has a value other than null.</summary>
    public bool Has(string key) => Find(key) is not null;

    /// <summary>True where the key is written out as null, which diffusers tells apart from absent.</summary>
    public bool IsNull(string key) => _root.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Null;

    /// <summary>A whole number, at least <paramref name="minimum"/>.</summary>
    public int Int(string key, int fallback, int minimum = 1) => OptionalInt(key, minimum) ?? fallback;

    /// <summary>A whole number, at least <paramref name="minimum"/>, or null.</summary>
    public int? OptionalInt(string key, int minimum = 1) => Find(key) is { } value ? ToInt(key, value, minimum) : null;

    /// <summary>Height and width: one whole number for both, or a list of the two; null where there is none.</summary>
    public (int Height, int Width)? Size(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Array } value when value.GetArrayLength() == 2 => (ToInt(key, value[0], 1), ToInt(key, value[1], 1)),
        { } value => (ToInt(key, value, 1), ToInt(key, value, 1)),
    };

    /// <summary>A finite number.</summary>
    public double Number(string key, double fallback) => Find(key) switch
    {
        null => fallback,
        { ValueKind: JsonValueKind.Number } value when double.IsFinite(value.GetDouble()) => value.GetDouble(),
        { } value => throw Bad(key, value, "must be a number"),
    };

    /// <summary>True or false.</summary>
    public bool Bool(string key, bool fallback) => Find(key) switch
    {
        null => fallback,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Bad(key, value, "must be true or false"),
    };

    /// <summary>A text, or null.</summary>
    public string? Text(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.String } value => value.GetString(),
        { } value => throw Bad(key, value, "must be a text"),
    };

    /// <summary>A list of texts.</summary>
    public ImmutableArray<string> Texts(string key, ImmutableArray<string> fallback) => Find(key) switch
    {
        null => fallback,
        { ValueKind: JsonValueKind.Array } value when value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String) =>
            [.. value.EnumerateArray().Select(item => item.GetString()!)],
        { } value => throw Bad(key, value, "must be a list of texts"),
    };

    /// <summary>A list of whole numbers, at least 1.</summary>
    public ImmutableArray<int> Ints(string key, ImmutableArray<int> fallback) =>
        Find(key) is { } value ? ToInts(key, value) : fallback;

    /// <summary>One whole number for all <paramref name="count"/> blocks, or a list with one for each.</summary>
    public ImmutableArray<int> PerBlock(string key, int fallback, int count) => Find(key) switch
    {
        null => Repeat(fallback, count),
        { ValueKind: JsonValueKind.Array } value when value.GetArrayLength() == count => ToInts(key, value),
        { ValueKind: JsonValueKind.Array } value => throw Bad(key, value, $"must have one entry for each of the {count} blocks"),
        { } value => Repeat(ToInt(key, value, 1), count),
    };

    /// <summary>For each block the number for each of its layers: one number for all, one per block, or a list per block.</summary>
    public ImmutableArray<ImmutableArray<int>>? PerLayer(string key, ImmutableArray<int> layers)
    {
        if (Find(key) is not { } value)
        {
            return null;
        }
        if (value.ValueKind != JsonValueKind.Array)
        {
            int all = ToInt(key, value, 0);
            return [.. layers.Select(count => Repeat(all, count))];
        }
        if (value.GetArrayLength() != layers.Length)
        {
            throw Bad(key, value, $"must have one entry for each of the {layers.Length} blocks");
        }
        return [.. value.EnumerateArray().Select((item, block) => item.ValueKind != JsonValueKind.Array
            ? Repeat(ToInt(key, item, 0), layers[block])
            : item.GetArrayLength() == layers[block]
                ? [.. item.EnumerateArray().Select(entry => ToInt(key, entry, 0))]
                : throw Bad(key, value, $"must have {layers[block]} numbers for block {block}"))];
    }

    /// <summary>Refuses any value but those given, which are all that is supported.</summary>
    public void RequireOneOf(string key, params ReadOnlySpan<string> supported)
    {
        if (Text(key) is { } text && !supported.Contains(text))
        {
            throw Bad(key, Find(key)!.Value, $"is not supported, only \"{string.Join("\" or \"", supported.ToArray())}\"");
        }
    }

    /// <summary>Refuses a value that switches something on: only null, false and lists of false are supported.</summary>
    public void RequireOff(string key)
    {
        if (Find(key) is { } value && value.ValueKind != JsonValueKind.False
            && !(value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind is JsonValueKind.False or JsonValueKind.Null)))
        {
            throw Bad(key, value, "is not supported");
        }
    }

    /// <summary>Refuses any factor but 1.</summary>
    public void RequireUnit(string key)
    {
        if (Number(key, 1) != 1)
        {
            throw Bad(key, Find(key)!.Value, "is not supported, only 1");
        }
    }

    /// <summary>The complaint about a key, for checks that concern several of them.</summary>
    public InvalidConfigException Bad(string key, string reason) =>
        new($"'{_path}': \"{key}\" {(Find(key) is { } value ? $"is {Show(value)} but " : "")}{reason}.");

    private InvalidConfigException Bad(string key, JsonElement value, string reason) =>
        new($"'{_path}': \"{key}\" {(reason.StartsWith("is ", StringComparison.Ordinal) ? $"= {Show(value)}" : $"is {Show(value)} but")} {reason}.");

    private JsonElement? Find(string key) =>
        _root.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private int ToInt(string key, JsonElement value, int minimum) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= minimum
            ? number
            : throw Bad(key, value, $"must be a whole number of at least {minimum}");

    private ImmutableArray<int> ToInts(string key, JsonElement value) => value.ValueKind == JsonValueKind.Array && value.GetArrayLength() > 0
        ? [.. value.EnumerateArray().Select(item => ToInt(key, item, 1))]
        : throw Bad(key, value, "must be a list of whole numbers");

    private static ImmutableArray<int> Repeat(int value, int count) => [.. Enumerable.Repeat(value, count)];

    private static string Show(JsonElement value)
    {
        const int Longest = 80;
        string text = value.GetRawText().ReplaceLineEndings(" ");
        return text.Length <= Longest ? text : text[..Longest] + "...";
    }
}
