using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;
using StableDiffusion.Tokenizers;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>How a model is written anew.</summary>
public sealed record ConversionOptions
{
    /// <summary>Type of the floating-point tensors: F32, F16 or BF16; null leaves each as it is stored.</summary>
    public WeightDType? DType { get; init; }

    /// <summary>Which variant of the model is read, see <see cref="LoadOptions.Variant"/>.</summary>
    public string? Variant { get; init; }

    /// <summary>What the model predicts, for the scheduler's config; null for what its files say and, where they do not, what its UNet answers.</summary>
    public PredictionType? PredictionType { get; init; }

    /// <summary>Replace what is at the destination.</summary>
    public bool Overwrite { get; init; }
}

/// <summary>
/// Writes models in another layout or type: a single file as a diffusers folder and back. Tensors are streamed one by one. What is written appears
/// complete or not at all.
/// </summary>
public static class ModelConversion
{
    private static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes a model as a folder in the diffusers layout.</summary>
    /// <param name="model">The model.</param>
    /// <param name="folder">The folder to make.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Told the share that is done, 0..1.</param>
    /// <param name="cancellation">Looked at between tensors; then nothing stays behind.</param>
    /// <exception cref="IOException">The model cannot be read, or the folder cannot be written or is there already.</exception>
    public static void ToFolder(ModelSource model, string folder, ConversionOptions? options = null, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options ??= new ConversionOptions();
        Refuse(folder, options);
        if (Directory.Exists(folder) && (IsInside(model.Path, folder) || (Directory.EnumerateFileSystemEntries(folder).Any() && !File.Exists(Path.Combine(folder, "model_index.json")))))
        {
            throw new IOException($"'{folder}' is not replaced: it is {(IsInside(model.Path, folder) ? "what is converted" : "a folder with other things than a model")}; give another name.");
        }
        // Before anything is written, so that what cannot be read is found first.
        Dictionary<string, string> files = Files(model, options, cancellation);
        string[] components = ["unet", "vae", .. model.TextEncoders];
        List<(string Component, IWeightSource Weights)> parts = [];
        string unfinished = $"{Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))}.{Guid.NewGuid():N}.part";
        try
        {
            foreach (string component in components)
            {
                IWeightSource weights = model.OpenWeights(component, component == "unet" || model is ModelFolder ? options.Variant : null);
                parts.Add((component, Cast(weights, options)));
            }
            long total = parts.Sum(part => Bytes(part.Weights)), done = 0;
            foreach ((string file, string text) in files)
            {
                string path = Path.Combine(unfinished, file);
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                File.WriteAllText(path, text);
            }
            foreach ((string component, IWeightSource weights) in parts)
            {
                string name = component is "unet" or "vae" ? "diffusion_pytorch_model.safetensors" : "model.safetensors";
                Write(Path.Combine(unfinished, component, name), weights, SingleFileWriter.Wanted(model, component, weights.Names!), new() { ["format"] = "pt" },
                    bytes => progress?.Report((double)(done += bytes) / total), cancellation);
            }
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }
            Directory.Move(unfinished, folder);
        }
        catch (Exception failure)
        {
            if (Directory.Exists(unfinished))
            {
                Directory.Delete(unfinished, recursive: true);
            }
            // The name of the unfinished folder means nothing to anybody.
            if (failure is IOException or UnauthorizedAccessException && failure.Message.Contains(unfinished, StringComparison.Ordinal))
            {
                throw new IOException(failure.Message.Replace(unfinished, folder, StringComparison.Ordinal), failure);
            }
            throw;
        }
        finally
        {
            parts.ForEach(part => part.Weights.Dispose());
        }
    }

    /// <summary>
    /// Writes a model as one safetensors file in the layout of the original training code, which web UIs read. What tensors do not tell stands in its
    /// metadata.
    /// </summary>
    /// <inheritdoc cref="ToFolder"/>
    /// <param name="file">The file to make.</param>
#pragma warning disable CS1573 // The other parameters are inherited.
    public static void ToSingleFile(ModelSource model, string file, ConversionOptions? options = null, IProgress<double>? progress = null, CancellationToken cancellation = default)
#pragma warning restore CS1573
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new ConversionOptions();
        Refuse(file, options);
        bool complete = model.Prediction is not null || options.PredictionType is not null;
        Dictionary<string, string> metadata = complete ? SingleFileWriter.Metadata(model, Files(model, options, cancellation, leaveClipOut: true)) : new() { ["format"] = "pt" };
        using IWeightSource weights = Cast(SingleFileWriter.Original(model, options.Variant), options);
        long total = Bytes(weights), done = 0;
        Write(file, weights, weights.Names!, metadata, bytes => progress?.Report((double)(done += bytes) / total), cancellation);
    }

    /// <summary>Writes the tensors of any weights file, under their own names, as a safetensors file.</summary>
    /// <inheritdoc cref="ToFolder"/>
    /// <param name="source">The tensors.</param>
    /// <param name="file">The file to make.</param>
#pragma warning disable CS1573 // The other parameters are inherited.
    public static void Copy(IWeightSource source, string file, ConversionOptions? options = null, IProgress<double>? progress = null, CancellationToken cancellation = default)
#pragma warning restore CS1573
    {
        ArgumentNullException.ThrowIfNull(source);
        options ??= new ConversionOptions();
        Refuse(file, options);
        Dictionary<string, string> metadata = source is SafetensorsFile { Metadata: { Count: > 0 } stored } ? new(stored) : new() { ["format"] = "pt" };
        // The caller's source stays open, so the view of it needs no disposing.
        IWeightSource weights = Cast(source, options);
        long total = Bytes(weights), done = 0;
        Write(file, weights, weights.Names!, metadata, bytes => progress?.Report((double)(done += bytes) / total), cancellation);
    }

    private static void Refuse(string destination, ConversionOptions options)
    {
        if (!options.Overwrite && (File.Exists(destination) || Directory.Exists(destination)))
        {
            throw new IOException($"'{destination}' is there already and is not replaced unless asked for (--force).");
        }
    }

    private static bool IsInside(string path, string folder) =>
        (Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)) + Path.DirectorySeparatorChar).StartsWith(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private static IWeightSource Cast(IWeightSource source, ConversionOptions options) => options.DType is { } dtype ? new CastWeights(source, dtype) : source;

    private static long Bytes(IWeightSource source) => Math.Max(1, source.Names!.Sum(name => source.Find(name, [])!.ByteCount));

    private static void Write(string path, IWeightSource source, IEnumerable<string> names, Dictionary<string, string> metadata, Action<long> written, CancellationToken cancellation) =>
        SafetensorsWriter.Write(path, names.ToDictionary(name => name, name => source.Find(name, [])!, StringComparer.Ordinal), (name, info, destination) =>
        {
            source.Read(name, info, destination);
            written(info.ByteCount);
        }, metadata, cancellation);

    /// <summary>The text files of the diffusers layout that belong to a model.</summary>
    private static Dictionary<string, string> Files(ModelSource model, ConversionOptions options, CancellationToken cancellation, bool leaveClipOut = false)
    {
        var files = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string component in (string[])["unet", "vae", .. model.TextEncoders])
        {
            string name = $"{component}/config.json";
            files[name] = model.ReadText(name) ?? throw new FileNotFoundException($"{model.NameOf(name)}: there is no such file.");
        }
        foreach (string encoder in model.TextEncoders)
        {
            AddTokenizer(model, encoder, files, leaveClipOut);
        }
        PredictionType? asked = options.PredictionType ?? (model.Prediction is null ? AskUnet(model, cancellation) : null);
        Scheduler scheduler = model.LoadScheduler(asked);
        JsonObject schedule = SchedulerConfig.Stated(scheduler);
        schedule.Insert(0, "_class_name", scheduler.GetType().Name);
        files["scheduler/scheduler_config.json"] = schedule.ToJsonString(Readable);
        if (model.Prediction is null)
        {
            JsonNode unet = JsonNode.Parse(files["unet/config.json"])!;
            unet["sample_size"] = FamilyDefaults.SampleSizeOfSD2(asked, model.ReadUnetConfig().InChannels);
            files["unet/config.json"] = unet.ToJsonString(Readable);
        }
        JsonNode index = JsonNode.Parse(model.ReadText("model_index.json")!)!;
        index["scheduler"] = new JsonArray("diffusers", scheduler.GetType().Name);
        foreach (string part in (string[])["safety_checker", "feature_extractor", "image_encoder", "depth_estimator"])
        {
            // They are not taken along, so the index must not promise them.
            if (index[part] is not null)
            {
                index[part] = new JsonArray(null, null);
            }
        }
        files["model_index.json"] = index.ToJsonString(Readable);
        return files;
    }

    private static PredictionType AskUnet(ModelSource model, CancellationToken cancellation)
    {
        using Device device = Device.Open("cpu");
        UnetConfig config = model.ReadUnetConfig();
        using IWeightSource weights = model.OpenWeights("unet");
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(config, weights, device, DType.BFloat16, cancellation);
        return PredictionProbe.Ask(unet, device);
    }

    private static void AddTokenizer(ModelSource model, string encoder, Dictionary<string, string> files, bool leaveClipOut)
    {
        string folder = ModelSource.TokenizerOf(encoder);
        ClipTokenizer tokenizer = model.LoadTokenizer(encoder);
        string? merges = model.ReadText($"{folder}/merges.txt");
        bool own = merges is not null && model.ReadText($"{folder}/vocab.json") is not null;
        if (leaveClipOut && (!own || tokenizer.IsSameAs(ClipTokenizer.Clip(PadOf(model, encoder)))))
        {
            return;
        }
        IEnumerable<(string Name, string? Text)> texts = own
            ? ((string[])["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"]).Select(name => (name, model.ReadText($"{folder}/{name}")))
            : ClipTokenizerFiles.EmbeddedAsFolder(PadOf(model, encoder));
        foreach ((string name, string? text) in texts.Where(file => file.Text is not null))
        {
            files[$"{folder}/{name}"] = text!;
        }
    }

    /// <summary>What pads in CLIP's own vocabulary, by the kind of text encoder.</summary>
    private static string PadOf(ModelSource model, string encoder) => model.ReadTextEncoderConfig(encoder).HiddenAct == Activation.QuickGelu ? ClipTokenizerFiles.ClipEndToken : "!";
}
