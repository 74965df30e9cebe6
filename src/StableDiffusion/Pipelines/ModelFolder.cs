using System.Text.Json;

namespace StableDiffusion.Pipelines;

/// <summary>A model in the diffusers layout: model_index.json and one folder per component.</summary>
public sealed class ModelFolder
{
    /// <summary>The demo model that ships with the library: coloured shapes, 128x128.</summary>
    public const string BuiltIn = "models/shapes";

    private static readonly string[] Supported = ["StableDiffusionPipeline", "StableDiffusionXLPipeline"];

    private ModelFolder(string path, string className, bool forceZerosForEmptyPrompt) =>
        (Path, ClassName, ForceZerosForEmptyPrompt) = (path, className, forceZerosForEmptyPrompt);

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The pipeline class that model_index.json names.</summary>
    public string ClassName { get; }

    /// <summary>SDXL: no negative prompt means zero embeddings instead of those of an empty text.</summary>
    public bool ForceZerosForEmptyPrompt { get; }

    /// <summary>Last part of the path, for the picture's metadata.</summary>
    public string Name => System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(Path));

    /// <summary>The folder of a component, such as <c>unet</c>.</summary>
    public string Component(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Whether the model has a component.</summary>
    public bool Has(string name) => Directory.Exists(Component(name));

    /// <summary>Where a model name is looked for: as it stands, against the current directory, and then beside the library.</summary>
    public static IEnumerable<string> Candidates(string path) => System.IO.Path.IsPathRooted(path)
        ? [path]
        : new[] { System.IO.Path.GetFullPath(path), System.IO.Path.GetFullPath(path, AppContext.BaseDirectory) }.Distinct();

    /// <summary>Finds a model and reads its index.</summary>
    /// <param name="path">A folder; a relative one is looked for against the current directory, then beside the library.</param>
    /// <exception cref="FileNotFoundException">No such folder, or no model_index.json in it; names the places looked at.</exception>
    /// <exception cref="NotSupportedException">A pipeline class of another family; names it and those that work.</exception>
    /// <exception cref="InvalidDataException">model_index.json is not what it should be.</exception>
    public static ModelFolder Open(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        string[] candidates = [.. Candidates(path)];
        string folder = candidates.FirstOrDefault(Directory.Exists)
            ?? throw new FileNotFoundException(File.Exists(path)
                ? $"{path} is a file; a model is a folder in the diffusers layout (model_index.json, unet/, vae/, text_encoder/, ...)."
                : $"no model folder at {string.Join(" or ", candidates)}; give the path of a folder in the diffusers layout.");
        string index = System.IO.Path.Combine(folder, "model_index.json");
        if (!File.Exists(index))
        {
            throw new FileNotFoundException($"{folder} has no model_index.json, so it is not a model in the diffusers layout.");
        }
        JsonElement json;
        try
        {
            json = JsonSerializer.Deserialize<JsonElement>(File.ReadAllText(index));
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{index} is not JSON: {e.Message}");
        }
        string className = json.ValueKind == JsonValueKind.Object && json.TryGetProperty("_class_name", out JsonElement name) ? name.ToString() : "";
        if (!Supported.Contains(className))
        {
            throw new NotSupportedException(
                $"{index}: a {(className.Length > 0 ? className : "model without _class_name")} cannot be drawn with; {string.Join(" and ", Supported)} can.");
        }
        bool zeros = !json.TryGetProperty("force_zeros_for_empty_prompt", out JsonElement force) || force.ValueKind == JsonValueKind.True;
        return new ModelFolder(folder, className, zeros);
    }
}
