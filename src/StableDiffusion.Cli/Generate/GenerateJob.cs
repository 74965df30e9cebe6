using System.CommandLine;
using StableDiffusion.Imaging;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Cli.Generate;

/// <summary>All that one call of <c>generate</c> asks for, checked as far as it can be without the model.</summary>
internal sealed class GenerateJob
{
    private readonly IReadOnlyList<string> _prompts;
    private readonly IReadOnlyList<string>? _prompts2, _negatives, _negatives2;
    private readonly GenerationRequest _template;
    private readonly PassPlan _passes;
    private readonly PictureInputs _pictures;
    private readonly int _batchSize;
    private readonly string? _firstSdxlOption;
    private readonly ScheduleChoice? _schedule;

    private GenerateJob(ParseResult parsed, GenerateOptions options)
    {
        _prompts = options.PromptsOf(parsed);
        _prompts2 = Spread(parsed.GetValue(options.Prompt2), "--prompt-2", _prompts.Count, orOne: false);
        _negatives = Spread(parsed.GetValue(options.Negative), "--negative", _prompts.Count, orOne: true);
        _negatives2 = Spread(parsed.GetValue(options.Negative2), "--negative-2", _prompts.Count, orOne: true);
        _passes = PassPlan.Read(parsed, options.Passes);
        Images = PlannedImage.Plan(_prompts, Seeds.Parse(parsed.GetValue(options.Seed) ?? []), parsed.GetValue(options.Count), _passes.Varies);
        Files = OutputPattern.FilesFor(parsed.GetRequiredValue(options.Output), Images);
        _batchSize = parsed.GetValue(options.BatchSize);
        Model = parsed.GetRequiredValue(options.Model);
        SchedulerName = parsed.GetValue(options.Scheduler);
        SaveLatentsTo = parsed.GetValue(options.SaveLatents);
        LatentsFrom = parsed.GetValue(options.Latents);
        Preview = PreviewFile.Read(parsed, options.Previews);
        if (SchedulerName is not null)
        {
            CheckScheduler(SchedulerName);
        }
        _schedule = ScheduleChoice.Read(parsed, options);
        _pictures = PictureInputs.Read(parsed, options.Pictures);
        if (_passes.Refiner is not null && _pictures.HasMask)
        {
            throw CliException.Usage("--refiner together with --mask or --outpaint: inpaint first, and refine the result with --image");
        }
        _firstSdxlOption = _passes.FirstSdxlOption ?? new Option[] { options.Prompt2, options.Negative2 }.Concat(options.Sdxl.All).FirstOrDefault(o => parsed.GetResult(o) is { Implicit: false })?.Name;
        (int Width, int Height)? size = parsed.GetValue(options.Size);
        if (size is not null && (parsed.GetValue(options.Width) ?? parsed.GetValue(options.Height)) is not null)
        {
            throw CliException.Usage("--size together with --width or --height: give one or the other");
        }
        _template = _passes.AddTo(_pictures.AddTo(new GenerationRequest("")
        {
            Steps = ScheduleChoice.StepsOf(parsed, options, _schedule),
            GuidanceScale = parsed.GetValue(options.Guidance),
            GuidanceRescale = parsed.GetValue(options.GuidanceRescale) ?? 0,
            Eta = parsed.GetValue(options.Eta) ?? 0,
            ClipSkip = parsed.GetValue(options.ClipSkip),
            VaeTiling = parsed.GetValue(options.VaeTiling),
            Width = size?.Width ?? parsed.GetValue(options.Width),
            Height = size?.Height ?? parsed.GetValue(options.Height),
            OriginalSize = Swap(parsed.GetValue(options.Sdxl.OriginalSize)),
            CropTopLeft = Swap(parsed.GetValue(options.Sdxl.CropTopLeft)) ?? (0, 0),
            TargetSize = Swap(parsed.GetValue(options.Sdxl.TargetSize)),
            NegativeOriginalSize = Swap(parsed.GetValue(options.Sdxl.NegativeOriginalSize)),
            NegativeCropTopLeft = Swap(parsed.GetValue(options.Sdxl.NegativeCropTopLeft)),
            NegativeTargetSize = Swap(parsed.GetValue(options.Sdxl.NegativeTargetSize)),
        }));
    }

    /// <summary>The pictures, prompt by prompt.</summary>
    internal IReadOnlyList<PlannedImage> Images { get; }

    /// <summary>The file of each picture.</summary>
    internal IReadOnlyList<string> Files { get; }

    /// <summary>The model as it was named.</summary>
    internal string Model { get; }

    /// <summary>The scheduler as it was named; null: the model's own.</summary>
    internal string? SchedulerName { get; }

    /// <summary>File of the initial latents, if any.</summary>
    internal string? LatentsFrom { get; }

    /// <summary>File for the final latents, if any.</summary>
    internal string? SaveLatentsTo { get; }

    /// <summary>The model that draws the last part of the steps, if any.</summary>
    internal string? Refiner => _passes.Refiner;

    /// <summary>The share of the schedule at which it takes over.</summary>
    internal double RefinerStart => _passes.RefinerStart;

    /// <summary>Size of the picture to start from, if any.</summary>
    internal (int Width, int Height)? SourceSize => _pictures.Size;

    /// <summary>Where previews go, if anywhere.</summary>
    internal PreviewFile? Preview { get; }

    /// <summary>Everything that will be written.</summary>
    internal IReadOnlyList<string> AllFiles => [.. Files.Concat(new[] { SaveLatentsTo, Preview?.Path }.OfType<string>())];

    /// <summary>Steps asked for.</summary>
    internal int Steps => _schedule?.AddTo(_template, xl: false).Steps ?? _template.Steps;

    /// <summary>The pictures in groups that are drawn at the same time.</summary>
    internal IReadOnlyList<PlannedImage[]> Batches => [.. Images.Chunk(_batchSize)];

    /// <summary>Reads the options.</summary>
    /// <exception cref="CliException">Options that do not go together, or a scheduler that does not exist; lists those that do.</exception>
    internal static GenerateJob Read(ParseResult parsed, GenerateOptions options) => new(parsed, options);

    /// <summary>What the pipeline is asked for one group of pictures.</summary>
    /// <param name="batch">The pictures.</param>
    /// <param name="modelScheduler">The model's scheduler, whose settings a named one takes over.</param>
    /// <param name="xl">Whether it is an SDXL model.</param>
    /// <param name="latents">Initial latents of all pictures of the call, or null.</param>
    internal GenerationRequest RequestFor(PlannedImage[] batch, IScheduler modelScheduler, bool xl, FloatTensor? latents)
    {
        // One prompt is encoded once, however many pictures it has.
        bool onePrompt = batch.All(image => image.PromptIndex == batch[0].PromptIndex);
        int[] prompts = [.. batch.Take(onePrompt ? 1 : batch.Length).Select(image => image.PromptIndex)];
        return (_schedule?.AddTo(_template, xl) ?? _template) with
        {
            Prompts = Pick(_prompts, prompts)!,
            Prompts2 = Pick(_prompts2, prompts),
            NegativePrompts = Pick(_negatives, prompts),
            NegativePrompts2 = Pick(_negatives2, prompts),
            ImagesPerPrompt = onePrompt ? batch.Length : 1,
            Seeds = [.. batch.Select(image => image.Seed)],
            Scheduler = SchedulerName is null ? null : Schedulers.Scheduler.Create(SchedulerName, modelScheduler as Scheduler),
            Latents = latents?.Slice(batch[0].Index, batch.Length),
            Variation = _passes.VariationFrom(batch[0]),
            StepEnd = Preview is null ? null : Preview.Write,
        };
    }

    /// <summary>The two halves of a request that a refiner finishes: latents up to where it takes over, and from there the picture.</summary>
    /// <param name="request">The whole.</param>
    /// <param name="refinerScheduler">The refiner's own scheduler, whose settings a named one takes over.</param>
    internal (GenerationRequest First, Func<FloatTensor, GenerationRequest> Second) Split(GenerationRequest request, IScheduler refinerScheduler)
    {
        return (request with { DenoisingEnd = RefinerStart, LatentsOnly = true }, latents => request with
        {
            Image = SourceImage.FromLatents(latents),
            DenoisingStart = RefinerStart,
            Strength = null,
            Latents = null,
            Variation = null,
            // The refiner has one text encoder, which reads the first prompt.
            Prompts2 = null,
            NegativePrompts2 = null,
            Scheduler = SchedulerName is null ? null : Schedulers.Scheduler.Create(SchedulerName, refinerScheduler as Scheduler),
        });
    }

    /// <summary>What goes into a picture's PNG, completed by what the common settings have no place for.</summary>
    /// <param name="parameters">As the pipeline tells them.</param>
    /// <param name="image">The picture.</param>
    /// <param name="refiner">The refiner's name, if one drew the rest.</param>
    internal GenerationParameters Complete(GenerationParameters parameters, PlannedImage image, string? refiner)
    {
        (string Key, string? Value)[] more =
        [
            ("Prompt 2", _prompts2?[image.PromptIndex]),
            ("Negative prompt 2", _negatives2?[image.PromptIndex]),
            .. _pictures.Settings,
            ("Refiner", refiner),
            ("Refiner switch at", refiner is null ? null : Units.Text($"{RefinerStart}")),
            ("Initial latents", LatentsFrom is null ? null : Path.GetFileName(LatentsFrom)),
        ];
        return parameters with { Other = [.. parameters.Other, .. more.Where(m => m.Value is not null).Select(m => KeyValuePair.Create(m.Key, m.Value!))] };
    }

    /// <summary>Finds what does not go with a model before it is loaded, which takes a while for a real one.</summary>
    /// <exception cref="CliException">Names the option.</exception>
    internal void CheckModel(ModelSource model)
    {
        if (_passes.Refiner is not null)
        {
            using ModelSource refiner = ModelSource.Open(_passes.Refiner);
            if (!refiner.Has("text_encoder_2"))
            {
                throw CliException.Usage($"--refiner: '{_passes.Refiner}' is no SDXL model; give the SDXL refiner");
            }
        }
        if (_firstSdxlOption is not null && !model.Has("text_encoder_2"))
        {
            throw CliException.Usage($"{_firstSdxlOption} is for SDXL models, and '{Model}' is none; leave it out");
        }
        const int UsualScale = 8; // Of every VAE that a model without one could be given.
        int scale = model.Has("vae") ? model.ReadVaeConfig().ScaleFactor : UsualScale;
        foreach ((string name, int? side) in new[] { ("width", _template.Width), ("height", _template.Height) })
        {
            if (side is int pixels && pixels % scale != 0)
            {
                throw CliException.Usage($"{name}: {pixels} is not a multiple of {scale}; try {Math.Max(scale, pixels / scale * scale)}");
            }
        }
    }

    // Before the model is loaded, and with fewer words than the library's list of every combination.
    private static void CheckScheduler(string name)
    {
        try
        {
            _ = Schedulers.Scheduler.Create(name);
        }
        catch (ArgumentException failure)
        {
            throw new CliException(ExitCode.Usage, $"--scheduler: there is no '{name}'; did you mean '{SchedulerNames.NearestTo(name)}'? There are {SchedulerNames.OneLine}", failure);
        }
    }

    private static string[]? Pick(IReadOnlyList<string>? texts, int[] indices) => texts is null ? null : [.. indices.Select(i => texts[i])];

    private static IReadOnlyList<string>? Spread(string[]? texts, string option, int prompts, bool orOne) =>
        texts is null or [] ? null
        : texts.Length == prompts ? texts
        : texts.Length == 1 && orOne ? [.. Enumerable.Repeat(texts[0], prompts)]
        : throw CliException.Usage($"{option}: given {texts.Length} times for {prompts} prompt(s); give it {(orOne ? "once, or " : "")}once per prompt");

    private static (int, int)? Swap((int First, int Second)? pair) => pair is { } p ? (p.Second, p.First) : null;
}
