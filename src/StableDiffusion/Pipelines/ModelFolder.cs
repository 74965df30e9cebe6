using StableDiffusion.Models;
using StableDiffusion.Tokenizers;
using StableDiffusion.Weights;

namespace StableDiffusion.Pipelines;

/// <summary>A model in the diffusers layout: model_index.json and one folder per component.</summary>
public sealed class ModelFolder : ModelSource
{
    /// <summary>The demo model that ships with the library: coloured shapes, 128x128.</summary>
    public const string BuiltIn = "models/shapes";

    private const string Index = "model_index.json";

    private ModelFolder(string path, string indexPath, string index) : base(path, indexPath, index) { }

    /// <inheritdoc/>
    public override string Name => System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(Path));

    /// <summary>The folder of a component, such as <c>unet</c>.</summary>
    public string Component(string name) => System.IO.Path.Combine(Path, name);

    /// <inheritdoc/>
    public override bool Has(string component) => Directory.Exists(Component(component));

    /// <summary>Where a model name is looked for: as it stands, against the current directory, and then beside the library.</summary>
    public static IEnumerable<string> Candidates(string path) => System.IO.Path.IsPathRooted(path)
        ? [path]
        : new[] { System.IO.Path.GetFullPath(path), System.IO.Path.GetFullPath(path, AppContext.BaseDirectory) }.Distinct();

    /// <summary>Finds a model and reads its index.</summary>
    /// <param name="path">A folder; a relative one is looked for against the current directory, then beside the library.</param>
    /// <exception cref="FileNotFoundException">No such folder, or no model_index.json in it; names the places looked at.</exception>
    /// <exception cref="NotSupportedException">A pipeline class of another family; names it and those that work.</exception>
    /// <exception cref="InvalidDataException">model_index.json is not what it should be.</exception>
    public static new ModelFolder Open(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        string[] candidates = [.. Candidates(path)];
        string folder = candidates.FirstOrDefault(Directory.Exists)
            ?? throw new FileNotFoundException(
                $"no model at {string.Join(" or ", candidates)}; give the path of a folder in the diffusers layout ({Index}, unet/, vae/, text_encoder/, ...) or of a single file (.safetensors, .ckpt).");
        string index = System.IO.Path.Combine(folder, Index);
        return File.Exists(index)
            ? new ModelFolder(folder, index, File.ReadAllText(index))
            : throw new FileNotFoundException($"{folder} has no {Index}, so it is not a model in the diffusers layout.");
    }

    /// <inheritdoc/>
    public override IWeightSource OpenWeights(string component, string? variant = null) => WeightFolder.Open(Component(component), variant);

    /// <inheritdoc/>
    public override ClipTokenizer LoadTokenizer(string textEncoder) => ClipTokenizer.Load(Component(TokenizerOf(textEncoder)));

    /// <summary>Nothing to release.</summary>
    public override void Dispose()
    {
    }

    /// <inheritdoc/>
    internal override string? ReadText(string file) => File.Exists(NameOf(file)) ? File.ReadAllText(NameOf(file)) : null;

    /// <inheritdoc/>
    internal override string NameOf(string file) => System.IO.Path.Combine(Path, file.Replace('/', System.IO.Path.DirectorySeparatorChar));

    private protected override ConfigReader ReadConfig(string component) => ConfigReader.Open(Component(component));
}
