using System.CommandLine;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>The options for looking at a picture while it is drawn.</summary>
internal sealed class PreviewOptions
{
    internal Option<string?> Preview { get; } = OptionFactory.Text("--preview", "FILE",
        "While drawing, write what the picture would be so far to this .png file, again and again; of a batch, the first picture.");

    internal Option<int> Every { get; } = OptionFactory.Int("--preview-every", "N", "Steps from one preview to the next, 1 to 1000.", 5, 1, 1000);

    internal Option<string?> Vae { get; } = OptionFactory.Text("--preview-vae", "PATH",
        "A small VAE (TAESD) that decodes the previews: a folder or a file. [default: none, one colour per 8x8 pixels]");

    internal IEnumerable<Option> All => [Preview, Every, Vae];
}

/// <summary>The file that shows how far a picture is.</summary>
internal sealed class PreviewFile
{
    private readonly int _every;

    private PreviewFile(string path, int every) => (Path, _every) = (path, every);

    /// <summary>Where it is written.</summary>
    internal string Path { get; }

    /// <summary>Reads the options; null without previews.</summary>
    /// <exception cref="CliException">Options that need --preview without it, or a name that is no PNG's.</exception>
    internal static PreviewFile? Read(ParseResult parsed, PreviewOptions options)
    {
        string? path = parsed.GetValue(options.Preview);
        if (path is null)
        {
            return options.All.FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false }) is { } lone
                ? throw CliException.Usage($"{lone.Name} needs --preview, the file to write to")
                : null;
        }
        return path.EndsWith(".png", StringComparison.OrdinalIgnoreCase)
            ? new PreviewFile(path, parsed.GetValue(options.Every))
            : throw CliException.Usage($"--preview: '{path}' does not end in .png, which is what is written");
    }

    /// <summary>Writes the file after every so many steps.</summary>
    internal void Write(GenerationStep step)
    {
        if (step.Index >= 0 && (step.Index + 1) % _every == 0)
        {
            using Imaging.RgbImage picture = step.Preview()[0];
            picture.Save(Path);
        }
    }
}
