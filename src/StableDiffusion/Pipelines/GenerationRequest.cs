using StableDiffusion.Random;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// What to draw and how: the arguments of diffusers' <c>StableDiffusionPipeline.__call__</c> and <c>StableDiffusionXLPipeline.__call__</c>.
/// Immutable; reuse it with <c>with</c>.
/// </summary>
public sealed record GenerationRequest
{
    private const int MaxImages = 1000, MaxSide = 16384;

    /// <summary>One prompt. An empty one draws unconditionally.</summary>
    public GenerationRequest(string prompt) : this([prompt]) { }

    /// <summary>Several prompts, drawn as one batch.</summary>
    public GenerationRequest(IReadOnlyList<string> prompts) => Prompts = prompts;

    /// <summary>Embeddings made beforehand (by <see cref="StableDiffusionPipeline.EncodePrompt"/>) instead of prompts.</summary>
    public GenerationRequest(PromptEmbeddings embeddings) => (Prompts, Embeddings) = ([], embeddings);

    /// <summary>The prompts, at least one unless <see cref="Embeddings"/> are given. diffusers: prompt.</summary>
    public IReadOnlyList<string> Prompts { get; init; }

    /// <summary>For SDXL's second text encoder, one per prompt; null: the same as <see cref="Prompts"/>. diffusers: prompt_2.</summary>
    public IReadOnlyList<string>? Prompts2 { get; init; }

    /// <summary>What not to draw: one for all prompts, or one per prompt. Null: none, which SDXL takes as zero embeddings. diffusers: negative_prompt.</summary>
    public IReadOnlyList<string>? NegativePrompts { get; init; }

    /// <summary>For SDXL's second text encoder; null: the same as <see cref="NegativePrompts"/>. diffusers: negative_prompt_2.</summary>
    public IReadOnlyList<string>? NegativePrompts2 { get; init; }

    /// <summary>Shorthand for a single entry in <see cref="NegativePrompts"/>.</summary>
    public string? NegativePrompt
    {
        get => NegativePrompts is [string single] ? single : null;
        init => NegativePrompts = value is null ? null : [value];
    }

    /// <summary>Prompt and negative embeddings instead of prompts. diffusers: prompt_embeds and its companions.</summary>
    public PromptEmbeddings? Embeddings { get; init; }

    /// <summary>Denoise steps, at least 1; with <see cref="Timesteps"/> or <see cref="Sigmas"/>, as many as these say. diffusers: num_inference_steps.</summary>
    public int Steps
    {
        get => Timesteps?.Count ?? Sigmas?.Count - 1 ?? field;
        init;
    } = 50;

    /// <summary>
    /// Timesteps to visit instead of the computed ones, descending, one per step, such as <see cref="AlignYourSteps"/>'s. Not every scheduler
    /// takes them. diffusers: timesteps.
    /// </summary>
    public IReadOnlyList<double>? Timesteps { get; init; }

    /// <summary>Noise levels to visit, descending, with the final one (usually 0) at the end: one more than steps. Few schedulers take them. diffusers: sigmas.</summary>
    public IReadOnlyList<double>? Sigmas { get; init; }

    /// <summary>How strongly to follow the prompt; at most 1 switches guidance (and the negative prompt) off. Null: what diffusers' pipeline of the task has: 7.5, for SDXL without a mask 5, for guidance-distilled models (LCM) 8.5. diffusers: guidance_scale.</summary>
    public double? GuidanceScale { get; init; }

    /// <summary>0..1: pulls the guided output's standard deviation back to the unguided one's. diffusers: guidance_rescale (arXiv 2305.08891).</summary>
    public double GuidanceRescale { get; init; }

    /// <summary>Pixels, a multiple of 8; null: that of the <see cref="Image"/>, rounded down, else the size the model was trained at. diffusers: width.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels, a multiple of 8; null: that of the <see cref="Image"/>, rounded down, else the size the model was trained at. diffusers: height.</summary>
    public int? Height { get; init; }

    /// <summary>Seed of the one generator that draws the whole batch, as in diffusers; of PyTorch's CPU generator only the low 32 bits count. Null: a random one, told in the result.</summary>
    public ulong? Seed { get; init; }

    /// <summary>One seed, and so one generator, per image; then each image is what its seed alone draws. Overrides <see cref="Seed"/>. diffusers: a list of generators.</summary>
    public IReadOnlyList<ulong>? Seeds { get; init; }

    /// <summary>
    /// Draw noise as PyTorch does on that GPU (on any device: the GPU need not be there). Null: as its CPU generator, the same picture everywhere.
    /// diffusers: torch.Generator("cuda") as generator.
    /// </summary>
    public TorchCudaGpu? NoiseGpu { get; init; }

    /// <summary>Images per prompt, all in one batch, at least 1. diffusers: num_images_per_prompt.</summary>
    public int ImagesPerPrompt { get; init; } = 1;

    /// <summary>The scheduler; null: the model's own.</summary>
    public IScheduler? Scheduler { get; init; }

    /// <summary>0..1: noise added by DDIM at each step; others ignore it. diffusers: eta.</summary>
    public double Eta { get; init; }

    /// <summary>Last layers of the text encoder to leave out, for the positive prompt only. diffusers: clip_skip (one less than the web UIs' "Clip skip").</summary>
    public int ClipSkip { get; init; }

    /// <summary>Initial noise <c>[B,4,H/8,W/8]</c> of unit variance instead of drawn noise; with an <see cref="Image"/>, the noise that is added to it. diffusers: latents.</summary>
    public FloatTensor? Latents { get; init; }

    /// <summary>Stop before the decoder: the result has latents and no images. diffusers: output_type="latent".</summary>
    public bool LatentsOnly { get; init; }

    /// <summary>
    /// Decode in overlapping tiles of 512 pixels, which takes the memory of one tile. False: only where the decoder does not fit in one piece, with
    /// a warning in the result. diffusers: vae.enable_tiling().
    /// </summary>
    public bool VaeTiling { get; init; }

    /// <summary>SDXL: the size (height, width) the picture is said to have had before cropping; null: the output's. diffusers: original_size.</summary>
    public (int Height, int Width)? OriginalSize { get; init; }

    /// <summary>SDXL: the crop corner (top, left) the picture is said to have. diffusers: crops_coords_top_left.</summary>
    public (int Top, int Left) CropTopLeft { get; init; }

    /// <summary>SDXL: the size (height, width) the picture is said to have; null: the output's. diffusers: target_size.</summary>
    public (int Height, int Width)? TargetSize { get; init; }

    /// <summary>SDXL: <see cref="OriginalSize"/> for the negative half; takes effect together with <see cref="NegativeTargetSize"/>, else the halves are the same. diffusers: negative_original_size.</summary>
    public (int Height, int Width)? NegativeOriginalSize { get; init; }

    /// <summary>SDXL: <see cref="CropTopLeft"/> for the negative half; null: (0, 0). diffusers: negative_crops_coords_top_left.</summary>
    public (int Top, int Left)? NegativeCropTopLeft { get; init; }

    /// <summary>SDXL: <see cref="TargetSize"/> for the negative half; takes effect together with <see cref="NegativeOriginalSize"/>. diffusers: negative_target_size.</summary>
    public (int Height, int Width)? NegativeTargetSize { get; init; }

    /// <summary>
    /// What the picture is made from. With a model of 4 input channels: image to image, or inpainting with a <see cref="Mask"/>; models for inpainting
    /// (9 channels), instructions (8) and depth (5) need one. diffusers: image.
    /// </summary>
    public SourceImage? Image { get; init; }

    /// <summary>
    /// 0..1: how much of the schedule is run from the <see cref="Image"/> on, floor(steps * strength) steps, and so how much of it is changed. Null: 0.8,
    /// with SDXL 0.3; with a <see cref="Mask"/> 1, with SDXL 0.9999. At 1 inpainting begins with noise alone. diffusers: strength.
    /// </summary>
    public double? Strength { get; init; }

    /// <summary>What of the <see cref="Image"/> is painted anew. diffusers: mask_image.</summary>
    public MaskImage? Mask { get; init; }

    /// <summary>For a depth model. diffusers: depth_map.</summary>
    public DepthMap? Depth { get; init; }

    /// <summary>For an instruction model: how closely to follow the <see cref="Image"/>, at least 1 for guidance; null: 1.5. diffusers: image_guidance_scale.</summary>
    public double? ImageGuidanceScale { get; init; }

    /// <summary>
    /// SDXL: where in 0..1 of the schedule to stop, exclusive, so that a refiner may go on from the latents: at the timestep of that share of the training
    /// schedule. diffusers: denoising_end.
    /// </summary>
    public double? DenoisingEnd { get; init; }

    /// <summary>
    /// SDXL: where in 0..1 of the schedule to begin, exclusive: no noise is added to the <see cref="Image"/>, which should be latents that another model left
    /// off at, and <see cref="Strength"/> does not count. diffusers: denoising_start.
    /// </summary>
    public double? DenoisingStart { get; init; }

    /// <summary>SDXL refiner: the score that the picture is said to have. diffusers: aesthetic_score.</summary>
    public double AestheticScore { get; init; } = 6.0;

    /// <summary>SDXL refiner: the score for the negative half. diffusers: negative_aesthetic_score.</summary>
    public double NegativeAestheticScore { get; init; } = 2.5;

    /// <summary>Initial noise on the way to a second seed's; null: the seed's own.</summary>
    public Variation? Variation { get; init; }

    /// <summary>A second pass at a larger size; null: none.</summary>
    public HiresPass? Hires { get; init; }

    /// <summary>
    /// The share of the steps in which guidance is on, 0..1 each; null: all. Of n model calls those from floor(n * start) to floor(n * end) are guided, both
    /// included, counted from 0; in the others the UNet sees the prompt alone, which takes half the time. diffusers: SDCFGCutoffCallback, whose
    /// cutoff_step_ratio is the end (arXiv 2404.07724).
    /// </summary>
    public (double Start, double End)? GuidanceInterval { get; init; }

    /// <summary>Called after each denoise step, and once before the first, on the generating thread. diffusers: callback_on_step_end.</summary>
    public Action<GenerationStep>? StepEnd { get; init; }

    /// <summary>Throws for the first value that cannot be drawn.</summary>
    /// <param name="sizeMultiple">What width and height must be a multiple of: the VAE's scale.</param>
    /// <exception cref="ArgumentException">Names the option, its value, and what would fit.</exception>
    internal void Validate(int sizeMultiple)
    {
        Require(Embeddings is not null || Prompts.Count > 0, "prompt: at least one is needed (an empty text draws unconditionally)");
        Require(Embeddings is null || Prompts.Count == 0, "prompt: give prompts or embeddings, not both");
        Require(Prompts.All(p => p is not null), "prompt: null is not a text; use an empty one to draw unconditionally");
        Require(Timesteps is null || Sigmas is null, "timesteps: give timesteps or sigmas, not both");
        Require(Timesteps is null or { Count: >= 1 }, "timesteps: the list is empty; give one per step");
        Require(Sigmas is null or { Count: >= 2 }, "sigmas: give at least two, the last of which (usually 0) is where the last step ends");
        Require(Steps is >= 1 and <= 1000, $"steps: {Steps} is not between 1 and 1000");
        Require(GuidanceScale is not double scale || double.IsFinite(scale), $"guidance scale: {GuidanceScale} is not a finite number");
        Require(GuidanceRescale is >= 0 and <= 1, $"guidance rescale: {GuidanceRescale} is not between 0 and 1");
        Require(Eta is >= 0 and <= 1, $"eta: {Eta} is not between 0 and 1");
        Require(ImagesPerPrompt is >= 1 and <= MaxImages, $"images per prompt: {ImagesPerPrompt} is not between 1 and {MaxImages}");
        Require(ClipSkip >= 0, $"clip skip: {ClipSkip} is negative");
        Require(Strength is null or (>= 0 and <= 1), $"strength: {Strength} is not between 0 and 1");
        Require(Strength is null || Image is not null, "strength: it says how much of an image is changed, but there is no image");
        Require(Mask is null || Image is not null, "mask: it says what of an image is painted, but there is no image");
        Require(DenoisingStart is null || Image is not null, "denoising start: it needs an image to go on from, usually latents");
        Require(DenoisingEnd is null or (> 0 and < 1), $"denoising end: {DenoisingEnd} is not above 0 and below 1");
        Require(DenoisingStart is null or (> 0 and < 1), $"denoising start: {DenoisingStart} is not above 0 and below 1");
        Require(!(DenoisingStart >= DenoisingEnd), $"denoising start: {DenoisingStart} is not below the denoising end, {DenoisingEnd}");
        Require(double.IsFinite(AestheticScore) && double.IsFinite(NegativeAestheticScore), $"aesthetic score: {AestheticScore} and {NegativeAestheticScore} are not both finite");
        Require(ImageGuidanceScale is not double given || double.IsFinite(given), $"image guidance scale: {ImageGuidanceScale} is not a finite number");
        Require(Variation is null or { Strength: >= 0 and <= 1 }, $"variation strength: {Variation?.Strength} is not between 0 and 1");
        Require(Variation is null || Latents is null, "variation: latents were given, so there is no seed's noise to vary; leave one of the two out");
        Require(Hires is null || DenoisingEnd is null, "hires: the first pass runs to its end; leave the denoising end out");
        Require(GuidanceInterval is null or ( >= 0, <= 1) && !(GuidanceInterval?.Start > GuidanceInterval?.End),
            $"guidance interval: {GuidanceInterval?.Start} to {GuidanceInterval?.End} is not a part of 0 to 1");
        Require(Hires?.Problem(sizeMultiple) is not string problem, Hires?.Problem(sizeMultiple) ?? "");
        foreach ((string name, int? size) in new[] { ("width", Width), ("height", Height) })
        {
            Require(size is null or <= MaxSide, $"{name}: {size} is more than {MaxSide} pixels");
            Require(size is null || (size >= sizeMultiple && size % sizeMultiple == 0),
                $"{name}: {size} is not a positive multiple of {sizeMultiple}; try {Math.Max(sizeMultiple, (long)(size ?? 0) / sizeMultiple * sizeMultiple)}");
        }
        int prompts = Embeddings is null ? Prompts.Count : Embeddings.Count;
        RequireMatches(nameof(Prompts2), Prompts2, prompts, orOne: false);
        RequireMatches(nameof(NegativePrompts), NegativePrompts, prompts, orOne: true);
        RequireMatches(nameof(NegativePrompts2), NegativePrompts2, prompts, orOne: true);
        int images = prompts * ImagesPerPrompt;
        Require(Seeds is null || Seeds.Count == images, $"seeds: {Seeds?.Count} were given for {images} images; give one per image");
    }

    private static void RequireMatches(string name, IReadOnlyList<string>? texts, int prompts, bool orOne) =>
        Require(texts is null || texts.Count == prompts || (orOne && texts.Count == 1),
            $"{name}: {texts?.Count} were given for {prompts} prompts; give {(orOne ? "one, or " : "")}one per prompt");

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }
}
