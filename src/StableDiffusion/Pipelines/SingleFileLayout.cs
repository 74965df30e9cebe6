using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.SingleFile;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Schedulers;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>How a single file is a model: its configuration files, stored or worked out, and where each component's tensors are.</summary>
internal sealed class SingleFileLayout
{
    private readonly string _location;
    private readonly Dictionary<string, string> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, IReadOnlyDictionary<string, TensorMapping>> _components = new(StringComparer.Ordinal);

    private SingleFileLayout(IWeightSource source, CheckpointKind kind, PredictionType? stated)
    {
        (_location, Kind) = (source.Location, kind);
        ZeroTerminalSnr = source.Find("ztsnr", []) is not null;
        // SD 2.x comes in both kinds, with nothing to tell them apart; of the others the few that predict v say so.
        Prediction = stated ?? (kind.Family == ModelFamily.StableDiffusion2 ? null : PredictionType.Epsilon);
    }

    /// <summary>What the file holds.</summary>
    public CheckpointKind Kind { get; }

    /// <summary>What the model predicts; null: the file does not say.</summary>
    public PredictionType? Prediction { get; private set; }

    /// <summary>The mark of models trained without any signal at their last timestep.</summary>
    public bool ZeroTerminalSnr { get; }

    /// <summary>Whether the configuration files are stored in the metadata.</summary>
    public bool IsConverted { get; private set; }

    /// <summary>The text files of the diffusers layout that stand for the file.</summary>
    public IReadOnlyDictionary<string, string> Files => _files;

    /// <summary>For each component, diffusers' names of its tensors and what they are made of.</summary>
    public IReadOnlyDictionary<string, IReadOnlyDictionary<string, TensorMapping>> Components => _components;

    /// <summary>Works a file out.</summary>
    /// <param name="source">Its tensors.</param>
    /// <param name="metadata">Its metadata.</param>
    /// <param name="stated">What it says that the model predicts.</param>
    public static SingleFileLayout Find(IWeightSource source, IReadOnlyDictionary<string, string> metadata, PredictionType? stated)
    {
        var layout = new SingleFileLayout(source, CheckpointKind.Find(source), stated);
        if (metadata.TryGetValue(SingleFileModel.ConfigKey, out string? config))
        {
            layout.ReadStored(config);
        }
        else
        {
            layout.Derive(source, metadata);
        }
        layout.Map(source);
        return layout;
    }

    /// <summary>A configuration file as messages call it.</summary>
    public string NameOf(string file) => $"{_location}: {file}";

    /// <summary>What fills a prompt up, in CLIP's own vocabulary: SD 1.x and SDXL's first encoder take the end token, the OpenCLIP encoders "!".</summary>
    public string PadToken(string textEncoder) => Kind.TextEncoders.First(encoder => encoder.Component == textEncoder).IsOpenClip ? "!" : "<|endoftext|>";

    /// <summary>Refuses a file with tensors that no component takes: something would be left out of the picture.</summary>
    /// <exception cref="InvalidWeightsException">Names them.</exception>
    public void CheckAllNamesKnown(IWeightSource source)
    {
        HashSet<string> known = [.. _components.Values.SelectMany(mappings => mappings.Values).SelectMany(mapping => mapping.Sources)];
        string[] dropped = [.. Kind.TextEncoders.Where(encoder => encoder.IsOpenClip && Kind.Family == ModelFamily.StableDiffusion2)
            .Select(encoder => $"{encoder.Prefix}transformer.resblocks.{TextConfig(encoder.Component).NumHiddenLayers}.")];
        string[] unknown = [.. source.Names!.Where(name => !known.Contains(name) && !ForeignFamily.IsIgnored(name)
            && !dropped.Any(start => name.StartsWith(start, StringComparison.Ordinal)))];
        if (unknown.Length > 0)
        {
            const int Shown = 5;
            throw new InvalidWeightsException($"'{_location}' has tensors that a {Kind.Title} checkpoint has no place for: {string.Join(", ", unknown.Take(Shown).Select(SafetensorsHeader.Quote))}{(unknown.Length > Shown ? $" and {unknown.Length - Shown} more" : "")}.");
        }
    }

    /// <summary>The configuration files that <c>convert</c> stored: an object with a text or a JSON object for each.</summary>
    /// <param name="location">The file, for messages.</param>
    /// <param name="config">The text under <see cref="SingleFileModel.ConfigKey"/>.</param>
    public static Dictionary<string, string> ReadStored(string location, string config)
    {
        try
        {
            return (JsonNode.Parse(config) as JsonObject ?? []).ToDictionary(
                file => file.Key, file => file.Value is JsonValue value && value.TryGetValue(out string? text) ? text : file.Value?.ToJsonString() ?? "null", StringComparer.Ordinal);
        }
        catch (Exception failure) when (failure is JsonException or ArgumentException)
        {
            throw new InvalidWeightsException($"'{location}' cannot be loaded: the '{SingleFileModel.ConfigKey}' in its metadata is not JSON ({failure.Message}).", failure);
        }
    }

    private void ReadStored(string config)
    {
        foreach ((string file, string text) in ReadStored(_location, config))
        {
            _files[file] = text;
        }
        if (!_files.ContainsKey("model_index.json") || !_files.ContainsKey("unet/config.json"))
        {
            throw new InvalidWeightsException($"'{_location}' cannot be loaded: the '{SingleFileModel.ConfigKey}' in its metadata has no model_index.json or no unet/config.json.");
        }
        IsConverted = true;
        if (_files.TryGetValue("scheduler/scheduler_config.json", out string? scheduler))
        {
            Prediction = SchedulerConfig.Parse(NameOf("scheduler/scheduler_config.json"), scheduler).PredictionType;
        }
    }

    private void Derive(IWeightSource source, IReadOnlyDictionary<string, string> metadata)
    {
        UnetConfig unet = UnetShape.Derive(new StoredShapes(source, Kind.UnetPrefix)) with { SampleSize = FamilyDefaults.SampleSize(Kind, Prediction, metadata) };
        Add("model_index.json", FamilyDefaults.ModelIndex(Kind, unet));
        Add("unet/config.json", ConfigJson.Of(unet));
        Add("scheduler/scheduler_config.json", unet.TimeCondProjDim is null
            ? FamilyDefaults.Scheduler(Kind, Prediction ?? PredictionType.VPrediction, ZeroTerminalSnr)
            : FamilyDefaults.ConsistencyScheduler());
        if (Kind.VaePrefix is { } prefix)
        {
            Add("vae/config.json", ConfigJson.Of(FamilyDefaults.Vae(Kind.Family, VaeShape.Derive(new StoredShapes(source, prefix)), unet.SampleSize!.Value.Height)));
        }
        foreach (StoredTextEncoder encoder in Kind.TextEncoders)
        {
            var shapes = new StoredShapes(source, encoder.Prefix);
            Add($"{encoder.Component}/config.json", ConfigJson.Of(encoder.IsOpenClip
                ? ClipShape.OpenClip(shapes, withProjection: Kind.Family != ModelFamily.StableDiffusion2)
                : ClipShape.HuggingFace(shapes)));
        }
    }

    private void Map(IWeightSource source)
    {
        UnetConfig unet = UnetConfig.Read(Config("unet"));
        _components["unet"] = UnetKeys.Map(unet).FromOriginal(source.Names!, Kind.UnetPrefix);
        if (Kind.VaePrefix is { } prefix && _files.ContainsKey("vae/config.json"))
        {
            _components["vae"] = VaeMappings(source, prefix, VaeConfig.Read(Config("vae")));
        }
        foreach (StoredTextEncoder encoder in Kind.TextEncoders.Where(encoder => _files.ContainsKey($"{encoder.Component}/config.json")))
        {
            KeyMap map = encoder.IsOpenClip ? ClipKeys.OpenClip(TextConfig(encoder.Component).NumHiddenLayers) : ClipKeys.HuggingFace();
            Dictionary<string, TensorMapping> mappings = map.FromOriginal(source.Names!.Where(name => !ForeignFamily.IsIgnored(name)), encoder.Prefix);
            _components[encoder.Component] = mappings;
        }
    }

    /// <summary>Where a VAE's tensors are, whether they have original names or diffusers'.</summary>
    internal static Dictionary<string, TensorMapping> VaeMappings(IWeightSource source, string prefix, VaeConfig config)
    {
        IEnumerable<string> names = source.Names!.Where(name => name.StartsWith(prefix, StringComparison.Ordinal) && !ForeignFamily.IsIgnored(name) && !name[prefix.Length..].StartsWith("loss.", StringComparison.Ordinal));
        return VaeShape.IsDiffusers(new StoredShapes(source, prefix))
            ? names.ToDictionary(name => name[prefix.Length..], name => new TensorMapping(name))
            : VaeKeys.Map(config).FromOriginal(names, prefix);
    }

    private ClipTextConfig TextConfig(string component) => ClipTextConfig.Read(Config(component));

    private Models.ConfigReader Config(string component) => Models.ConfigReader.Parse(NameOf($"{component}/config.json"), _files[$"{component}/config.json"]);

    private void Add(string file, JsonObject json) => _files[file] = json.ToJsonString(new JsonSerializerOptions { WriteIndented = true });
}
