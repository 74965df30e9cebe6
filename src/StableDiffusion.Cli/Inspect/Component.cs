using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Inspect;

/// <summary>One component folder of a model: its config and, where it has some, its weights.</summary>
internal sealed record Component(string Name, string ClassName, JsonObject Config, string? WeightsFile, WeightsReport? Weights)
{
    // The config entries that say what a component is; the rest are the same in nearly every model.
    private static readonly string[] Telling =
    [
        "hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "projection_dim", "in_channels", "latent_channels", "block_out_channels",
        "transformer_layers_per_block", "attention_head_dim", "cross_attention_dim", "addition_embed_type", "use_linear_projection",
        "upcast_attention", "sample_size", "scaling_factor", "force_upcast", "model_max_length", "num_train_timesteps", "beta_schedule", "beta_start",
        "beta_end", "prediction_type", "timestep_spacing", "steps_offset", "algorithm_type", "use_karras_sigmas",
    ];

    /// <summary>Reads a component: <c>config.json</c> (a scheduler's is <c>scheduler_config.json</c>) and the header of its weights.</summary>
    /// <exception cref="CliException">The config is missing or no JSON object.</exception>
    /// <exception cref="InvalidWeightsException">The weights are missing or damaged.</exception>
    internal static Component Read(string folder, string? className = null)
    {
        string name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));
        string scheduler = Path.Combine(folder, "scheduler_config.json");
        if (File.Exists(scheduler))
        {
            JsonObject schedule = ReadObject(scheduler);
            return new Component(name, Text(schedule, "_class_name") ?? className ?? "?", schedule, null, null);
        }
        string tokenizer = Path.Combine(folder, "tokenizer_config.json");
        if (File.Exists(tokenizer))
        {
            return new Component(name, className ?? "CLIPTokenizer", ReadObject(tokenizer), null, null);
        }
        JsonObject config = ReadObject(Path.Combine(folder, "config.json"));
        string file = WeightFolder.Find(folder);
        string found = Text(config, "_class_name") ?? (config["architectures"] as JsonArray)?.FirstOrDefault()?.ToString() ?? className ?? "?";
        return new Component(name, found, config, Path.GetFileName(file), new WeightsReport(file));
    }

    /// <summary>A JSON file whose root is an object.</summary>
    /// <exception cref="CliException">It is missing or something else.</exception>
    internal static JsonObject ReadObject(string path)
    {
        if (!File.Exists(path))
        {
            throw CliException.File($"'{path}': there is no such file");
        }
        try
        {
            return JsonNode.Parse(File.ReadAllText(path)) as JsonObject ?? throw CliException.File($"'{path}': not a JSON object");
        }
        catch (Exception failure) when (failure is JsonException or ArgumentException)
        {
            throw CliException.File($"'{path}': not valid JSON ({failure.Message})", failure);
        }
    }

    /// <summary>A text entry of a config, or null.</summary>
    internal static string? Text(JsonObject config, string key) => config[key] is JsonValue value && value.TryGetValue(out string? text) ? text : null;

    /// <summary>A whole number of a config, or null.</summary>
    internal static int? Number(JsonObject config, string key) => config[key] is JsonValue value && value.TryGetValue(out int number) ? number : null;

    /// <summary>The telling config entries, as "key value, key value".</summary>
    internal string Facts => string.Join(", ", Telling.Where(key => Config[key] is not null)
        .Select(key => $"{key} {Config[key]!.ToJsonString().Replace("\"", "", StringComparison.Ordinal)}"));

    internal JsonObject ToJson()
    {
        var json = new JsonObject { ["name"] = Name, ["class"] = ClassName };
        if (Weights is not null)
        {
            json["file"] = WeightsFile;
            json["parameters"] = Weights.Parameters;
            json["dtypes"] = Weights.DTypes;
            json["bytes"] = Weights.Bytes;
        }
        json["config"] = Config.DeepClone();
        return json;
    }
}

/// <summary>One component folder alone.</summary>
internal sealed class ComponentReport(Component component) : IReport
{
    /// <inheritdoc />
    public void Write(Terminal terminal, bool all)
    {
        terminal.Out.WriteLine($"{component.Name}: {component.ClassName}");
        terminal.Out.WriteLine($"  {component.Facts}");
        component.Weights?.Write(terminal, all);
    }

    /// <inheritdoc />
    public JsonObject ToJson()
    {
        JsonObject json = component.ToJson();
        json.Insert(0, "kind", "component");
        return json;
    }
}
