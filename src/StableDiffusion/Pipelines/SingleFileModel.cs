using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using StableDiffusion.Models.SingleFile;
using StableDiffusion.Schedulers;
using StableDiffusion.Tokenizers;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>
/// A model in one file, as the original training code and the web UIs keep it: <c>.safetensors</c>, <c>.ckpt</c>. What it is, the names and shapes
/// of its tensors tell; configurations come from them, or, for files that <c>convert</c> wrote, from their metadata.
/// </summary>
public sealed partial class SingleFileModel : ModelSource
{
    /// <summary>The key of the metadata that holds the configuration files of a converted model.</summary>
    internal const string ConfigKey = "sdn.config";

    /// <summary>The variant that stands for the averaged weights of training, which some files hold beside the plain ones.</summary>
    internal const string EmaVariant = "ema";

    private readonly IWeightSource _source;
    private readonly SingleFileLayout _layout;

    private SingleFileModel(string path, IWeightSource source, SingleFileLayout layout)
        : base(path, layout.NameOf("model_index.json"), layout.Files["model_index.json"]) => (_source, _layout) = (source, layout);

    /// <summary>What the file holds.</summary>
    internal CheckpointKind Kind => _layout.Kind;

    /// <summary>The family in words, as "Stable Diffusion 1.x".</summary>
    public string Family => Kind.Title;

    /// <summary>The text encoders that the family has, whether they are in the file or not.</summary>
    public IReadOnlyList<string> NeededTextEncoders => Kind.NeededTextEncoders;

    /// <summary>Opens a file and tells what it is.</summary>
    /// <exception cref="NotSupportedException">It is no Stable Diffusion model; says what it is.</exception>
    /// <exception cref="InvalidWeightsException">It is missing or damaged, or has tensors that nothing takes.</exception>
    public static new SingleFileModel Open(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        if (IsGguf(path))
        {
            throw ForeignFamily.Refusal(path, "a quantised GGUF file, which is not supported,");
        }
        IWeightSource source = WeightFile.Open(path);
        try
        {
            return From(source, (source as SafetensorsFile)?.Metadata, ReadYaml(path));
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>The model in a source of weights, which it disposes.</summary>
    /// <param name="source">The tensors.</param>
    /// <param name="metadata">Text that the file has beside them.</param>
    /// <param name="yaml">The text of the training configuration beside the file, if any.</param>
    internal static SingleFileModel From(IWeightSource source, IReadOnlyDictionary<string, string>? metadata = null, string? yaml = null)
    {
        SingleFileLayout layout = SingleFileLayout.Find(source, metadata ?? new Dictionary<string, string>(), StatedIn(source, metadata, yaml));
        layout.CheckAllNamesKnown(source);
        return new SingleFileModel(source.Location, source, layout);
    }

    /// <inheritdoc/>
    public override string Name => System.IO.Path.GetFileNameWithoutExtension(Path);

    /// <inheritdoc/>
    public override PredictionType? Prediction => _layout.Prediction;

    /// <summary>The file has averaged weights (EMA) of its UNet beside the plain ones.</summary>
    public bool HasEma => _source.Names!.Any(name => name.StartsWith("model_ema.diffusion_model", StringComparison.Ordinal));

    /// <inheritdoc/>
    public override bool Has(string component) => _layout.Components.ContainsKey(component);

    /// <summary>The weights of a component, under diffusers' names.</summary>
    /// <param name="component">Such as <c>unet</c>.</param>
    /// <param name="variant">"ema" takes the averaged weights of the UNet; null the plain ones.</param>
    public override IWeightSource OpenWeights(string component, string? variant = null)
    {
        if (variant is not (null or EmaVariant))
        {
            throw new ArgumentException($"variant: '{Path}' has no variant '{variant}'; a single file is what it is, but for \"{EmaVariant}\", the averaged weights that some hold.");
        }
        if (!_layout.Components.TryGetValue(component, out IReadOnlyDictionary<string, TensorMapping>? mappings))
        {
            throw Missing(component);
        }
        if (variant == EmaVariant && component == "unet")
        {
            if (!HasEma)
            {
                throw new InvalidWeightsException($"'{Path}' has no averaged weights (model_ema.*); load it without a variant.");
            }
            mappings = mappings.ToDictionary(pair => pair.Key, pair => pair.Value with { Sources = [.. pair.Value.Sources.Select(EmaName)] });
        }
        return new MappedWeights(_source, mappings);
    }

    /// <inheritdoc/>
    public override ClipTokenizer LoadTokenizer(string textEncoder)
    {
        string folder = TokenizerOf(textEncoder);
        return ReadText($"{folder}/vocab.json") is null
            ? ClipTokenizer.Clip(_layout.PadToken(textEncoder))
            : ClipTokenizer.Load(NameOf(folder), file => ReadText($"{folder}/{file}"));
    }

    /// <inheritdoc/>
    public override Scheduler LoadScheduler(PredictionType? prediction = null) =>
        _layout.IsConverted || prediction is null || prediction == Prediction
            ? base.LoadScheduler(prediction)
            : SchedulerConfig.Parse(NameOf("scheduler/scheduler_config.json"), FamilyDefaults.Scheduler(Kind, prediction.Value, _layout.ZeroTerminalSnr).ToJsonString());

    /// <inheritdoc/>
    public override void Dispose() => _source.Dispose();

    /// <inheritdoc/>
    internal override string? ReadText(string file)
    {
        if (_layout.Files.TryGetValue(file, out string? text))
        {
            return text;
        }
        string component = file.Split('/')[0];
        return file.EndsWith("/config.json", StringComparison.Ordinal) && !Has(component) ? throw Missing(component) : null;
    }

    /// <inheritdoc/>
    internal override string NameOf(string file) => _layout.NameOf(file);

    private InvalidWeightsException Missing(string component) => new(component switch
    {
        "vae" => $"'{Path}' has no VAE (first_stage_model.*): give one beside it (LoadOptions.Vae, --vae).",
        "unet" => $"'{Path}' has no UNet (model.diffusion_model.*).",
        _ => $"'{Path}' is a {Kind.Title} checkpoint without its text encoder ({string.Join(", ", Kind.NeededTextEncoders.Except(TextEncoders))}): take the file of the whole model, not of its UNet alone.",
    });

    /// <summary>"model.diffusion_model.input_blocks.0.0.weight" is "model_ema.diffusion_modelinput_blocks00weight" there.</summary>
    private static string EmaName(string name) => "model_ema." + name["model.".Length..].Replace(".", "", StringComparison.Ordinal);

    /// <summary>What the model predicts, as far as marks, metadata or the training configuration say.</summary>
    private static PredictionType? StatedIn(IWeightSource source, IReadOnlyDictionary<string, string>? metadata, string? yaml)
    {
        if (source.Find("v_pred", []) is not null)
        {
            return PredictionType.VPrediction;
        }
        string? stated = metadata?.GetValueOrDefault("modelspec.prediction_type");
        if (stated is not null)
        {
            return stated.StartsWith('v') ? PredictionType.VPrediction : PredictionType.Epsilon;
        }
        return yaml is null ? null
            : Parameterization().Match(yaml) is { Success: true } match ? (match.Groups[1].Value == "v" ? PredictionType.VPrediction : PredictionType.Epsilon)
            : null;
    }

    /// <summary>The training configuration that web UIs keep beside a checkpoint, under its name.</summary>
    private static string? ReadYaml(string path)
    {
        const int Largest = 1 << 20;
        var file = new FileInfo(System.IO.Path.ChangeExtension(path, ".yaml"));
        return file.Exists && file.Length < Largest ? File.ReadAllText(file.FullName) : null;
    }

    private static bool IsGguf(string path)
    {
        if (!File.Exists(path))
        {
            return false;
        }
        using FileStream stream = File.OpenRead(path);
        Span<byte> magic = stackalloc byte[4];
        return stream.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false) == magic.Length && magic.SequenceEqual("GGUF"u8);
    }

    [GeneratedRegex("""^\s*parameterization:\s*["']?(v|eps|x0)["']?\s*$""", RegexOptions.Multiline)]
    private static partial Regex Parameterization();
}
