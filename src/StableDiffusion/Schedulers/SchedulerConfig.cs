using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;

namespace StableDiffusion.Schedulers;

/// <summary>Reading and merging of scheduler configs in diffusers' JSON.</summary>
static partial class SchedulerConfig
{
    const string FileName = "scheduler_config.json";

    static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false) },
    };

    public static Scheduler Load(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, FileName) : path;
        return Parse(file, File.ReadAllText(file));
    }

    /// <summary>Reads a config from its text.</summary>
    /// <param name="file">Where it is from, for messages.</param>
    /// <param name="json">The text.</param>
    public static Scheduler Parse(string file, string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(QuoteBareNumbers(json));
            return Read(document.RootElement);
        }
        catch (Exception error) when (error is JsonException or InvalidDataException)
        {
            throw new InvalidDataException($"{file}: {error.Message}", error);
        }
    }

    public static Scheduler Read(JsonElement config)
    {
        if (config.ValueKind != JsonValueKind.Object)
        {
            throw new InvalidDataException("A scheduler config must be a JSON object.");
        }
        if (!config.TryGetProperty("_class_name", out JsonElement name) || name.ValueKind != JsonValueKind.String)
        {
            throw new InvalidDataException("The scheduler config has no _class_name, so its scheduler is not known; add one, as in \"EulerDiscreteScheduler\".");
        }
        Type type = SchedulerCatalog.FindClass(name.GetString()!)
            ?? throw new InvalidDataException($"The scheduler {name.GetString()} is not supported; there are {string.Join(", ", SchedulerCatalog.ClassNames)}.");
        return Read(type, JsonObject.Create(config)!);
    }

    /// <summary>Makes a scheduler of a class from the keys of a config; null values and unknown keys are passed over.</summary>
    public static Scheduler Read(Type type, JsonObject config)
    {
        var present = new JsonObject();
        foreach ((string key, JsonNode? value) in config.Where(entry => entry.Value is not null && !entry.Key.StartsWith('_')))
        {
            present[key] = value!.DeepClone();
        }
        Scheduler scheduler;
        try
        {
            scheduler = (Scheduler)present.Deserialize(type, Options)!;
        }
        catch (JsonException error)
        {
            throw new InvalidDataException(Explain(type, present, error.Path), error);
        }
        return scheduler.Problem() is { } problem
            ? throw new InvalidDataException($"{scheduler.Name}: {problem}")
            : scheduler with { Source = new ConfigSource(present) };
    }

    /// <summary>All of a scheduler's config, by diffusers' keys.</summary>
    public static JsonObject Write(Scheduler scheduler) => JsonSerializer.SerializeToNode(scheduler, scheduler.GetType(), Options)!.AsObject();

    /// <summary>
    /// The keys a scheduler states: those of the config it was read from, with their present values, and those that differ from the
    /// defaults of its class. The other defaults are not handed on to a scheduler made from it.
    /// </summary>
    public static JsonObject Stated(Scheduler scheduler)
    {
        JsonObject present = JsonSerializer.SerializeToNode(scheduler, scheduler.GetType(), Options)!.AsObject();
        JsonObject defaults = JsonSerializer.SerializeToNode(Activator.CreateInstance(scheduler.GetType()), scheduler.GetType(), Options)!.AsObject();
        JsonObject stated = scheduler.Source.Keys?.DeepClone().AsObject() ?? [];
        foreach ((string key, JsonNode? value) in present)
        {
            if (stated.ContainsKey(key) || !JsonNode.DeepEquals(value, defaults[key]))
            {
                stated[key] = value?.DeepClone();
            }
        }
        return stated;
    }

    /// <summary>Python writes infinities and NaN bare, which is not JSON.</summary>
    static string QuoteBareNumbers(string json) => BareNumber().Replace(json, match => match.Groups["string"].Success ? match.Value : $"\"{match.Value}\"");

    [GeneratedRegex("""(?<string>"(?:[^"\\]|\\.)*")|-?Infinity|NaN""")]
    private static partial Regex BareNumber();

    static string Explain(Type type, JsonObject config, string? path)
    {
        string key = path?.TrimStart('$', '.').Split('[', '.')[0] ?? "";
        PropertyInfo? property = type.GetProperties().FirstOrDefault(property => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name) == key);
        string value = config[key]?.ToJsonString() ?? "";
        Type? wanted = property is null ? null : Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        string expected = wanted is { IsEnum: true }
            ? $"it must be one of {string.Join(", ", Enum.GetValues(wanted).Cast<object>().Select(member => JsonSerializer.Serialize(member, wanted, Options)))}"
            : $"it must be {(wanted == typeof(bool) ? "true or false" : wanted == typeof(int) ? "a whole number" : wanted == typeof(double) ? "a number" : "a list of numbers")}";
        return $"{type.Name}: {key} is {value}; {expected}.";
    }
}

/// <summary>
/// The keys of the config a scheduler was read from; null when it was made in code. Where a scheduler came from is no part of what it
/// is, so all sources are equal and schedulers compare by their options alone.
/// </summary>
sealed class ConfigSource(JsonObject? keys) : IEquatable<ConfigSource>
{
    public static readonly ConfigSource None = new(null);

    public JsonObject? Keys { get; } = keys;

    public bool Equals(ConfigSource? other) => other is not null;

    public override bool Equals(object? obj) => obj is ConfigSource;

    public override int GetHashCode() => 0;
}
