using System.CommandLine;
using System.CommandLine.Parsing;
using Spectre.Console;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Convert;

/// <summary><c>convert</c>: writes a model in another layout or type.</summary>
internal sealed class ConvertCommand : CliCommand
{
    private const string Diffusers = "diffusers", Ldm = "ldm", Same = "same", Extension = ".safetensors";

    private readonly Argument<string> _source = new("SOURCE") { Description = "A model folder, a single file (.safetensors, .ckpt), or any file or component folder of weights." };
    private readonly Argument<string> _target = new("DEST") { Description = "A folder to make, or a .safetensors file." };
    private readonly Option<string?> _to = OptionFactory.Parsed<string?>("--to", "LAYOUT",
        "diffusers: a folder. ldm: one file, as the original training code and web UIs have it. same: the names as they are, as .safetensors. [default: what DEST and SOURCE suggest]",
        (string text, out string? value) => (value = text.ToLowerInvariant()) is Diffusers or Ldm or Same, $"is no layout; there are {Diffusers}, {Ldm} and {Same}");
    private readonly Option<DTypeChoice?> _dtype = OptionFactory.Parsed<DTypeChoice?>("--dtype", "TYPE", "Type of the tensors: fp32, fp16 or bf16. [default: as they are]",
        DTypeNames.TryParseFile, DTypeNames.FileComplaint);
    private readonly Option<string?> _variant = OptionFactory.Text("--variant", "NAME", "Which variant of a folder's files to read, such as fp16; of a single file, ema: the averaged weights.");
    private readonly Option<PredictionType?> _prediction = OptionFactory.Parsed<PredictionType?>("--prediction", "TYPE",
        "What the model predicts, for its scheduler's configuration: epsilon or v. [default: what the files say, else what the UNet answers]",
        (string text, out PredictionType? value) => (value = text.ToLowerInvariant() switch { "epsilon" or "eps" => PredictionType.Epsilon, "v" or "v_prediction" => PredictionType.VPrediction, _ => null }) is not null,
        "is no prediction type; there are epsilon and v");
    private readonly Option<bool> _force = OptionFactory.Flag("--force", "Replace what is at DEST.", "-f");
    private readonly Option<bool> _quiet = OptionFactory.Flag("--quiet", "Print nothing but errors.", "-q");
    private readonly Terminal _terminal;
    private readonly CancellationToken _cancellation;

    internal ConvertCommand(Terminal terminal, CancellationToken cancellation) : base("convert", "Write a model in another layout or type: single file, folder, fp16.")
    {
        (_terminal, _cancellation) = (terminal, cancellation);
        Add(_source);
        Add(_target);
        foreach (Option option in (Option[])[_to, _dtype, _variant, _prediction, _force, _quiet])
        {
            Add(option);
        }
        SetAction(Run);
    }

    /// <inheritdoc />
    internal override string Notes => $"""
        Examples:
          {CommandLineApp.Name} convert v1-5-pruned.ckpt stable-diffusion-v1-5 --dtype fp16
          {CommandLineApp.Name} convert models/shapes shapes.safetensors
          {CommandLineApp.Name} convert vae-ft-mse.ckpt vae-ft-mse.safetensors

        A single file that is written from a folder holds the folder's configurations in its metadata, so that it loads again whatever its shape.
        """;

    private int Run(ParseResult parsed)
    {
        string source = parsed.GetRequiredValue(_source), target = parsed.GetRequiredValue(_target);
        string layout = parsed.GetValue(_to) ?? Suggested(source, target);
        if (layout == Diffusers == target.EndsWith(Extension, StringComparison.OrdinalIgnoreCase))
        {
            throw CliException.Usage(layout == Diffusers
                ? $"'{target}': --to {Diffusers} makes a folder; give a name without {Extension}"
                : $"'{target}': --to {layout} makes one file; give a name that ends in {Extension}");
        }
        var options = new ConversionOptions
        {
            DType = (WeightDType?)parsed.GetValue(_dtype)?.DType,
            Variant = parsed.GetValue(_variant),
            PredictionType = parsed.GetValue(_prediction),
            Overwrite = parsed.GetValue(_force),
        };
        Show(parsed.GetValue(_quiet), progress => Convert(layout, source, target, options, progress));
        if (!parsed.GetValue(_quiet))
        {
            _terminal.Out.WriteLine(target);
        }
        return ExitCode.Ok;
    }

    private void Convert(string layout, string source, string target, ConversionOptions options, IProgress<double>? progress)
    {
        if (layout == Same)
        {
            using IWeightSource weights = Directory.Exists(source) ? WeightFolder.Open(source, options.Variant) : WeightFile.Open(source);
            ModelConversion.Copy(weights, target, options, progress, _cancellation);
            return;
        }
        using ModelSource model = ModelSource.Open(source);
        if (layout == Diffusers)
        {
            ModelConversion.ToFolder(model, target, options, progress, _cancellation);
        }
        else
        {
            ModelConversion.ToSingleFile(model, target, options, progress, _cancellation);
        }
    }

    /// <summary>A folder is made by default; a file keeps its names, and a model folder becomes one file.</summary>
    private static string Suggested(string source, string target) =>
        !target.EndsWith(Extension, StringComparison.OrdinalIgnoreCase) ? Diffusers
        : ModelFolder.Candidates(source).Any(folder => File.Exists(Path.Combine(folder, "model_index.json"))) ? Ldm
        : Same;

    /// <summary>Runs the work, with a bar where somebody looks.</summary>
    private void Show(bool quiet, Action<IProgress<double>?> work)
    {
        if (quiet || !_terminal.ErrIsTerminal)
        {
            work(null);
            return;
        }
        Terminal.Rich(_terminal.Err).Progress().AutoClear(true).Columns(new ProgressBarColumn(), new PercentageColumn(), new TaskDescriptionColumn { Alignment = Justify.Left })
            .Start(context => work(new Bar(context.AddTask("writing", maxValue: 1))));
    }

    /// <summary>Moves at once, on the thread that works.</summary>
    private sealed class Bar(ProgressTask task) : IProgress<double>
    {
        public void Report(double value) => task.Value = value;
    }
}
