using StableDiffusion.Imaging;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;
using StableDiffusion.Tokenizers;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>How a model is loaded.</summary>
public sealed record LoadOptions
{
    /// <summary>
    /// How weights are stored, and on a CUDA device activations too: Float32, Float16 or BFloat16. Null, on a CUDA device: Float16, and BFloat16
    /// for a VAE whose config says force_upcast; on a CPU Float32, but BFloat16 or Float16 where the device multiplies these faster
    /// (<see cref="DeviceInfo.ProductDType"/>, docs/adr/0008-dtype-auto-on-the-cpu.md). diffusers: torch_dtype. Int8, on CPUs with AVX512_VNNI: the
    /// UNet's matrices and convolutions in bytes, multiplied as such, and the other models as with null; see docs/numerics.md.
    /// </summary>
    public DType? WeightDType { get; init; }

    /// <summary>The type that a UNet gets on a device.</summary>
    public DType UnetDTypeFor(Device device) => WeightDType ?? DTypeFor(device);

    /// <summary>The type that text encoders get on a device.</summary>
    public DType DTypeFor(Device device) => WeightDType is { } given and not DType.Int8
        ? given
        : device.Kind == DeviceKind.Cuda ? DType.Float16 : device.Info.ProductDType;

    /// <summary>The type that a VAE gets on a device.</summary>
    public DType DTypeFor(Device device, VaeConfig vae) => WeightDType is null && device.Kind == DeviceKind.Cuda && vae.ForceUpcast ? DType.BFloat16 : DTypeFor(device);

    /// <summary>
    /// Which variant of the files to take, as diffusers' <c>variant</c>: "fp16". Null: the plain files, else the fp16 ones. Of a single file "ema"
    /// takes the averaged weights of the UNet, which some hold beside the plain ones.
    /// </summary>
    public string? Variant { get; init; }

    /// <summary>
    /// A tiny autoencoder (TAESD) for previews: a folder or a file, as <see cref="AutoencoderTiny.Load(string, Device, DType, string?, CancellationToken)"/>
    /// takes it. Null: none.
    /// </summary>
    public string? PreviewVae { get; init; }

    /// <summary>A VAE to take instead of the model's own: a folder of diffusers, or a file. Null: the model's.</summary>
    public string? Vae { get; init; }

    /// <summary>What the model predicts, where its files say nothing or the wrong thing. Null: what they say, and where they do not, what its UNet answers.</summary>
    public PredictionType? PredictionType { get; init; }

    /// <summary>Most bytes the pipeline may use, weights included; a generation that would need more is refused before it starts. Null: what is free.</summary>
    public long? MemoryLimitBytes { get; init; }
}

/// <summary>
/// The parts of a pipeline. Load them from a folder, or put a set together from parts that other pipelines use too: parts are immutable and
/// may be shared by any number of pipelines and threads.
/// </summary>
public sealed record PipelineComponents
{
    private PromptEncoder? _promptEncoder;
    private readonly UnetGraphPool _graphs = new();

    /// <summary>The device all parts are on.</summary>
    public required Device Device { get; init; }

    /// <summary>One tokenizer per text encoder.</summary>
    public required IReadOnlyList<ClipTokenizer> Tokenizers { get; init; }

    /// <summary>One text encoder (SD 1.x, 2.x), or CLIP ViT-L and OpenCLIP bigG (SDXL).</summary>
    public required IReadOnlyList<ClipTextModel> TextEncoders { get; init; }

    /// <summary>The denoiser.</summary>
    public required UNet2DConditionModel Unet { get; init; }

    /// <summary>The auto-encoder between pixels and latents.</summary>
    public required AutoencoderKL Vae { get; init; }

    /// <summary>The tiny autoencoder that decodes previews (<see cref="GenerationStep.Preview"/>); null: a linear approximation does.</summary>
    public AutoencoderTiny? PreviewVae { get; init; }

    /// <summary>The scheduler used when a request names none.</summary>
    public required IScheduler Scheduler { get; init; }

    /// <summary>The model's name, for the picture's metadata.</summary>
    public string Name { get; init; } = "";

    /// <summary>SDXL: no negative prompt means zero embeddings. diffusers: force_zeros_for_empty_prompt.</summary>
    public bool ForceZerosForEmptyPrompt { get; init; } = true;

    /// <summary>See <see cref="LoadOptions.MemoryLimitBytes"/>.</summary>
    public long? MemoryLimitBytes { get; init; }

    /// <summary>Whether the UNet is conditioned on pooled text and sizes, as SDXL's.</summary>
    public bool IsXl => Unet.Config.AddTextTime;

    /// <summary>An SDXL model for instructions that takes the picture's latents times scaling_factor. diffusers: is_cosxl_edit.</summary>
    public bool IsCosXlEdit { get; init; }

    /// <summary>SDXL: channels of the pooled text.</summary>
    internal int PooledWidth => TextEncoders[^1].Config.ProjectionDim;

    /// <summary>SDXL: numbers of the micro-conditioning: 6, or 5 of a refiner.</summary>
    internal int TimeIdCount => IsXl ? (Unet.Config.ProjectionClassEmbeddingsInputDim - PooledWidth) / Unet.Config.AdditionTimeEmbedDim : 0;

    /// <summary>SDXL's refiner: a score stands where others have the target size. diffusers: requires_aesthetics_score.</summary>
    internal bool TakesAestheticScore => TimeIdCount == 5;

    /// <summary>The guidance scale of a request, or where it names none that of diffusers' pipeline for the task.</summary>
    public double GuidanceScaleOf(GenerationRequest request) =>
        request.GuidanceScale ?? (Unet.Config.TimeCondProjDim is not null ? 8.5 : IsXl && request.Mask is null ? 5.0 : 7.5);

    /// <summary>Device memory of all weights.</summary>
    public long WeightBytes => Unet.WeightBytes + Vae.WeightBytes + (PreviewVae?.WeightBytes ?? 0) + TextEncoders.Sum(encoder => encoder.WeightBytes);

    /// <summary>Pixels per latent cell on each side: 8 for every Stable Diffusion.</summary>
    public int VaeScale => Vae.Config.ScaleFactor;

    /// <summary>The graph instances of the UNet; sets made of one another share them.</summary>
    internal UnetGraphPool Graphs => _graphs;

    /// <summary>Latents <c>[B,C,h,w]</c> to quick pictures of them.</summary>
    internal IReadOnlyList<RgbImage> Preview(FloatTensor latents) => PreviewVae is { } tiny
        ? [.. Enumerable.Range(0, latents[0]).Select(i => tiny.Draw(Device, latents.Slice(i, 1).Scale(1 / tiny.Config.ScalingFactor)))]
        : LatentRgb.Of(Vae.Config.ScalingFactor).Draw(latents, VaeScale);

    internal PromptEncoder PromptEncoder => _promptEncoder ??= new PromptEncoder([.. Tokenizers.Zip(TextEncoders)], IsXl, ForceZerosForEmptyPrompt);

    /// <summary>Loads all parts of a model.</summary>
    /// <param name="path">A folder in the diffusers layout, or a single file (.safetensors, .ckpt), see <see cref="ModelSource.Open"/>.</param>
    /// <param name="device">Where the weights go.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellation">Looked at between tensors.</param>
    /// <exception cref="IOException">Files that are missing or damaged; the text names file and tensor.</exception>
    /// <exception cref="NotSupportedException">A model of another family; the text names it.</exception>
    /// <exception cref="OutOfDeviceMemoryException">The weights do not fit.</exception>
    public static PipelineComponents Load(string path, Device device, LoadOptions? options = null, CancellationToken cancellation = default)
    {
        using ModelSource model = ModelSource.Open(path);
        return Load(model, device, options, cancellation);
    }

    /// <summary>Loads all parts of a model that is open.</summary>
    /// <inheritdoc cref="Load(string, Device, LoadOptions?, CancellationToken)"/>
    public static PipelineComponents Load(ModelSource model, Device device, LoadOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new LoadOptions();
        DType dtype = options.DTypeFor(device);
        UnetConfig unetConfig = model.ReadUnetConfig();
        ClipTextModel LoadTextEncoder(string name)
        {
            ClipTextConfig config = model.ReadTextEncoderConfig(name);
            using IWeightSource weights = model.OpenWeights(name, options.Variant);
            return ClipTextModel.Load(config, weights, device, dtype, cancellation);
        }
        AutoencoderKL LoadVae()
        {
            (VaeConfig config, IWeightSource weights) = options.Vae is null ? (model.ReadVaeConfig(), model.OpenWeights("vae", options.Variant)) : VaeFile.Open(options.Vae, model, options.Variant);
            using (weights)
            {
                return config.LatentChannels == unetConfig.OutChannels
                    ? AutoencoderKL.Load(config, weights, device, options.DTypeFor(device, config), cancellation)
                    : throw new InvalidWeightsException($"'{weights.Location}' has latents of {config.LatentChannels} channels, but the UNet of '{model.Path}' draws {unetConfig.OutChannels}: take the VAE of its family.");
            }
        }
        UNet2DConditionModel LoadUnet()
        {
            using IWeightSource weights = model.OpenWeights("unet", options.Variant);
            return UNet2DConditionModel.Load(unetConfig, weights, device, options.UnetDTypeFor(device), cancellation);
        }
        var loaded = new Stack<IDisposable>();
        T Keep<T>(T part) where T : IDisposable
        {
            loaded.Push(part);
            return part;
        }
        IReadOnlyList<string> encoders = model.TextEncoders is { Count: > 0 } there ? there : ["text_encoder"]; // Which says what is missing.
        // A tenth of a second of one core, which weights would keep waiting.
        var tokenizers = Task.Run(() => encoders.Select(model.LoadTokenizer).ToArray());
        try
        {
            AutoencoderKL vae = Keep(LoadVae());
            UNet2DConditionModel unet = Keep(LoadUnet());
            PredictionType? prediction = options.PredictionType ?? (model.Prediction is null ? PredictionProbe.Ask(unet, device) : null);
            if (model.Prediction is null)
            {
                unet.TrainedAt(FamilyDefaults.SampleSizeOfSD2(prediction, unetConfig.InChannels));
            }
            var components = new PipelineComponents
            {
                Device = device,
                Name = model.Name,
                ForceZerosForEmptyPrompt = model.ForceZerosForEmptyPrompt,
                IsCosXlEdit = model.IsCosXlEdit,
                MemoryLimitBytes = options.MemoryLimitBytes,
                Scheduler = model.LoadScheduler(prediction),
                Tokenizers = tokenizers.GetAwaiter().GetResult(),
                TextEncoders = [.. encoders.Select(name => Keep(LoadTextEncoder(name)))],
                Vae = vae,
                PreviewVae = options.PreviewVae is { } preview ? Keep(AutoencoderTiny.Load(preview, device, dtype, cancellation: cancellation)) : null,
                Unet = unet,
            };
            if (components.MemoryLimitBytes < components.WeightBytes)
            {
                throw new OutOfDeviceMemoryException($"Loading the weights of {model.Path}", components.WeightBytes, options.MemoryLimitBytes!.Value,
                    "Raise the memory limit, or load with fp16 or bf16 weights.");
            }
            return components;
        }
        catch
        {
            Task.WhenAny(tokenizers).Wait(CancellationToken.None); // The model may be closed next. What failed first is the news.
            foreach (IDisposable part in loaded)
            {
                part.Dispose();
            }
            throw;
        }
    }

    /// <summary>
    /// Disposes text encoders, VAE, UNet and what generations on a CUDA device kept of them. Only for whoever loaded them, when no other pipeline
    /// uses them.
    /// </summary>
    public void DisposeParts()
    {
        _graphs.Dispose();
        foreach (ClipTextModel encoder in TextEncoders)
        {
            encoder.Dispose();
        }
        Vae.Dispose();
        PreviewVae?.Dispose();
        Unet.Dispose();
    }
}
