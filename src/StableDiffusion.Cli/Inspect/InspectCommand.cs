using System.CommandLine;
using System.Runtime.ExceptionServices;
using System.Text.Json.Nodes;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Inspect;

/// <summary><c>inspect</c>: what is in a model folder, a safetensors file or a picture.</summary>
internal sealed class InspectCommand : CliCommand
{
    private static readonly byte[] PngSignature = [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    private static readonly string[] WeightNames = [".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf"];

    private readonly Argument<string> _path = new("PATH") { Description = "A model folder (diffusers layout) or one of its components, a file of weights (.safetensors, .ckpt, .pt, .bin) or .index.json, or a PNG." };
    private readonly Option<bool> _all = OptionFactory.Flag("--all", "List every tensor of a weights file, not only its parts.", "-a");
    private readonly Option<bool> _json = OptionFactory.Flag("--json", "Print one JSON object.");
    private readonly Terminal _terminal;

    internal InspectCommand(Terminal terminal) : base("inspect", "Show what is in a model folder, a weights file or a generated PNG.")
    {
        _terminal = terminal;
        Add(_path);
        Add(_all);
        Add(_json);
        SetAction(Run);
    }

    /// <inheritdoc />
    internal override string Notes => $"""
        Examples:
          {CommandLineApp.Name} inspect models/shapes
          {CommandLineApp.Name} inspect models/shapes/unet/diffusion_pytorch_model.safetensors --all
          {CommandLineApp.Name} inspect out.png
        """;

    private int Run(ParseResult parsed)
    {
        string path = parsed.GetRequiredValue(_path);
        IReport report = Read(path);
        if (parsed.GetValue(_json))
        {
            _terminal.Out.WriteLine(report.ToJson().ToJsonString(Json.Options));
        }
        else
        {
            report.Write(_terminal, parsed.GetValue(_all));
        }
        return ExitCode.Ok;
    }

    private static IReport Read(string path)
    {
        if (Directory.Exists(path))
        {
            return ReadFolder(path);
        }
        if (!File.Exists(path))
        {
            throw CliException.File($"'{path}': there is no such file or folder");
        }
        if (path.EndsWith(".index.json", StringComparison.OrdinalIgnoreCase))
        {
            return new WeightsReport(path);
        }
        if (StartsLikePng(path))
        {
            return new PngReport(path);
        }
        return WeightNames.Any(name => path.EndsWith(name, StringComparison.OrdinalIgnoreCase)) ? ReadWeights(path)
            : throw CliException.File($"'{path}': neither a PNG nor a .safetensors file, nor one of PyTorch ({string.Join(", ", WeightNames.Skip(1))}); give one of these or a model folder");
    }

    /// <summary>A single-file model, or else the tensors with what can be told of them.</summary>
    private static IReport ReadWeights(string path)
    {
        try
        {
            using SingleFileModel model = SingleFileModel.Open(path);
            return new CheckpointReport(model, new WeightsReport(path));
        }
        catch (Exception failure) when (failure is NotSupportedException or IOException)
        {
            // A file of something else has tensors too; of one that has none, the first failure says what it is.
            try
            {
                return new WeightsReport(path, failure.Message);
            }
            catch (IOException)
            {
                ExceptionDispatchInfo.Throw(failure);
                throw;
            }
        }
    }

    private static IReport ReadFolder(string folder) =>
        File.Exists(Path.Combine(folder, "model_index.json")) ? new ModelReport(folder)
        : File.Exists(Path.Combine(folder, "config.json")) ? new ComponentReport(Component.Read(folder))
        : throw CliException.File($"'{folder}': neither a model folder (model_index.json) nor a component of one (config.json)");

    private static bool StartsLikePng(string path)
    {
        using FileStream stream = File.OpenRead(path);
        Span<byte> start = stackalloc byte[8];
        return stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) == start.Length && start.SequenceEqual(PngSignature);
    }
}

/// <summary>What <c>inspect</c> found, for people and for programs.</summary>
internal interface IReport
{
    /// <summary>Writes it to the terminal's output.</summary>
    /// <param name="terminal">Where to.</param>
    /// <param name="all">Every tensor.</param>
    void Write(Terminal terminal, bool all);

    /// <summary>The same facts, with every tensor.</summary>
    JsonObject ToJson();
}
