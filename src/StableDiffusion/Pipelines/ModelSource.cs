using System.Text.Json;
using StableDiffusion.Models;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Schedulers;
using StableDiffusion.Tokenizers;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>
/// A model on disk, as the parts of the diffusers layout: a folder (<see cref="ModelFolder"/>) or a single file (<see cref="SingleFileModel"/>),
/// which is seen as if it were one. Opening reads configurations and names of tensors; weights are read when asked for.
/// </summary>
public abstract class ModelSource : IDisposable
{
    private static readonly string[] Supported =
    [
        "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionInstructPix2PixPipeline",
        "StableDiffusionDepth2ImgPipeline", "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline",
        "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline", "StableDiffusionXLInstructPix2PixPipeline",
    ];

    /// <summary>The pipelines of diffusers that mend old scheduler configs.</summary>
    private static readonly string[] MendingSchedulers =
        ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"];

    private static readonly string[] TextEncoderNames = ["text_encoder", "text_encoder_2"];

    private protected ModelSource(string path, string indexPath, string index)
    {
        Path = path;
        JsonElement json;
        try
        {
            json = JsonSerializer.Deserialize<JsonElement>(index);
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{indexPath} is not JSON: {e.Message}");
        }
        ClassName = json.ValueKind == JsonValueKind.Object && json.TryGetProperty("_class_name", out JsonElement name) ? name.ToString() : "";
        if (!Supported.Contains(ClassName))
        {
            throw new NotSupportedException(
                $"{indexPath}: a {(ClassName.Length > 0 ? ClassName : "model without _class_name")} cannot be drawn with; {string.Join(", ", Supported)} can.");
        }
        ForceZerosForEmptyPrompt = !json.TryGetProperty("force_zeros_for_empty_prompt", out JsonElement force) || force.ValueKind == JsonValueKind.True;
        IsCosXlEdit = json.TryGetProperty("is_cosxl_edit", out JsonElement edit) && edit.ValueKind == JsonValueKind.True;
    }

    /// <summary>The folder or file.</summary>
    public string Path { get; }

    /// <summary>The pipeline class of diffusers that the model is made for.</summary>
    public string ClassName { get; }

    /// <summary>SDXL: no negative prompt means zero embeddings instead of those of an empty text.</summary>
    public bool ForceZerosForEmptyPrompt { get; }

    /// <summary>An SDXL model for instructions that takes the picture's latents times scaling_factor. diffusers: is_cosxl_edit.</summary>
    public bool IsCosXlEdit { get; }

    /// <summary>The model's name, for the picture's metadata.</summary>
    public abstract string Name { get; }

    /// <summary>The text encoders there are: <c>text_encoder</c>, <c>text_encoder_2</c> or both.</summary>
    public IReadOnlyList<string> TextEncoders => [.. TextEncoderNames.Where(Has)];

    /// <summary>What the model predicts, where the files say so; null where only the weights know.</summary>
    public virtual PredictionType? Prediction => LoadScheduler().PredictionType;

    /// <summary>Opens a model: a folder in the diffusers layout, or a single file.</summary>
    /// <param name="path">A relative one is looked for against the current directory, then beside the library.</param>
    /// <exception cref="FileNotFoundException">There is no such thing, or a folder without model_index.json; names the places looked at.</exception>
    /// <exception cref="NotSupportedException">A model of another family; names it.</exception>
    /// <exception cref="IOException">A file that is damaged, or not what it should be.</exception>
    public static ModelSource Open(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return ModelFolder.Candidates(path).FirstOrDefault(candidate => File.Exists(candidate) || Directory.Exists(candidate)) is { } found && File.Exists(found)
            ? SingleFileModel.Open(found)
            : ModelFolder.Open(path);
    }

    /// <summary>Whether the model has a component, such as <c>vae</c>.</summary>
    public abstract bool Has(string component);

    /// <summary>The UNet's configuration.</summary>
    /// <exception cref="InvalidConfigException">It is missing or cannot be used.</exception>
    public UnetConfig ReadUnetConfig() => UnetConfig.Read(ReadConfig("unet"));

    /// <summary>The VAE's configuration.</summary>
    /// <exception cref="InvalidConfigException">It is missing or cannot be used.</exception>
    public VaeConfig ReadVaeConfig() => VaeConfig.Read(ReadConfig("vae"));

    /// <summary>The configuration of a text encoder.</summary>
    /// <exception cref="InvalidConfigException">It is missing or cannot be used.</exception>
    public ClipTextConfig ReadTextEncoderConfig(string component) => ClipTextConfig.Read(ReadConfig(component));

    /// <summary>The weights of a component, under diffusers' names; the caller disposes them, before the model.</summary>
    /// <param name="component">Such as <c>unet</c>.</param>
    /// <param name="variant">Which variant, see <see cref="LoadOptions.Variant"/>.</param>
    /// <exception cref="InvalidWeightsException">There are none, or they are damaged.</exception>
    public abstract IWeightSource OpenWeights(string component, string? variant = null);

    /// <summary>The tokenizer of a text encoder.</summary>
    /// <param name="textEncoder">The text encoder, such as <c>text_encoder_2</c>.</param>
    /// <exception cref="InvalidTokenizerException">A file is missing or malformed.</exception>
    public abstract ClipTokenizer LoadTokenizer(string textEncoder);

    /// <summary>The scheduler the model came with; of one that comes in two kinds, the one for that prediction.</summary>
    /// <param name="prediction">What the model predicts; null for what the files say.</param>
    /// <exception cref="InvalidDataException">Its config cannot be used.</exception>
    public virtual Scheduler LoadScheduler(PredictionType? prediction = null)
    {
        const string File = "scheduler/scheduler_config.json";
        Scheduler scheduler = SchedulerConfig.Parse(NameOf(File), ReadText(File) ?? throw new InvalidDataException($"{NameOf(File)}: there is no such file."));
        scheduler = MendingSchedulers.Contains(ClassName) ? scheduler.WithLegacyConfigFixes() : scheduler;
        return prediction is { } type ? scheduler with { PredictionType = type } : scheduler;
    }

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>The text of a file of the diffusers layout, such as <c>unet/config.json</c>; null where there is none.</summary>
    internal abstract string? ReadText(string file);

    /// <summary>Such a file as messages call it.</summary>
    internal abstract string NameOf(string file);

    /// <summary>The tokenizer that goes with a text encoder: <c>tokenizer_2</c> for <c>text_encoder_2</c>.</summary>
    internal static string TokenizerOf(string textEncoder) => textEncoder.Replace("text_encoder", "tokenizer", StringComparison.Ordinal);

    private protected virtual ConfigReader ReadConfig(string component) => ConfigReader.Parse(NameOf($"{component}/config.json"), ReadText($"{component}/config.json"));
}
