using System.Text;
using System.Text.RegularExpressions;

namespace StableDiffusion.Cli.Generate;

/// <summary>
/// Where pictures go: a file, a folder, or a pattern with <c>{seed}</c>, <c>{index}</c> (from 0001) and <c>{prompt}</c> (shortened to what
/// every file system takes). Several pictures that would get one name get a number each: "out-0001.png".
/// </summary>
internal static partial class OutputPattern
{
    internal const string Default = "out.png";
    private const string NameInFolder = "{index}-{seed}.png";
    private const int PromptLength = 60;

    /// <summary>The file of each picture, in their order.</summary>
    /// <exception cref="CliException">A placeholder or an extension that is not known.</exception>
    internal static IReadOnlyList<string> FilesFor(string output, IReadOnlyList<PlannedImage> images)
    {
        string pattern = IsFolder(output) ? Path.Combine(output, NameInFolder) : output;
        if (Placeholder().Matches(pattern).FirstOrDefault(m => m.Groups[1].Value is not ("seed" or "index" or "prompt")) is { } unknown)
        {
            throw CliException.Usage($"--output: {unknown.Value} is not a placeholder; {{seed}}, {{index}} and {{prompt}} are");
        }
        CheckExtension(output, pattern);
        string[] files = [.. images.Select(image => Fill(pattern, image))];
        return files.Distinct(StringComparer.OrdinalIgnoreCase).Count() == files.Length ? files : [.. files.Select(Number)];
    }

    /// <summary>Makes missing folders, and fails before anything is drawn if a file could not be written at the end.</summary>
    /// <exception cref="CliException">Names the file and why.</exception>
    internal static void EnsureWritable(IEnumerable<string> files)
    {
        foreach (string file in files)
        {
            try
            {
                if (Directory.Exists(file))
                {
                    throw new IOException("there is a folder of that name");
                }
                string folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
                if (File.Exists(folder))
                {
                    throw new IOException($"{folder} is a file, not a folder");
                }
                Directory.CreateDirectory(folder);
                if (File.Exists(file))
                {
                    File.OpenWrite(file).Dispose();
                }
                using FileStream probe = new(file + AtomicFile.Suffix, FileMode.Create, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
            {
                throw CliException.File($"--output: '{file}' cannot be written: {failure.Message.TrimEnd('.')}; give another path with --output", failure);
            }
        }
    }

    private static bool IsFolder(string output) =>
        output.Length > 0 && (output[^1] == '/' || output[^1] == Path.DirectorySeparatorChar || Directory.Exists(output));

    private static void CheckExtension(string output, string pattern)
    {
        string extension = Path.GetExtension(pattern);
        if (!extension.Equals(".png", StringComparison.OrdinalIgnoreCase))
        {
            throw CliException.Usage(extension.Length == 0
                ? $"--output: '{output}' has no extension; give a name that ends with .png, or an existing folder (or one that ends with '/')"
                : $"--output: '{extension}' files cannot be written; only .png can (it keeps every pixel and the parameters)");
        }
    }

    private static string Fill(string pattern, PlannedImage image) => Placeholder().Replace(pattern, match => match.Groups[1].Value switch
    {
        "seed" => Units.Text($"{image.Seed}"),
        "index" => Units.Text($"{image.Index + 1:0000}"),
        _ => Slug(image.Prompt),
    });

    private static string Number(string file, int index) =>
        Path.Combine(Path.GetDirectoryName(file) ?? "", Units.Text($"{Path.GetFileNameWithoutExtension(file)}-{index + 1:0000}{Path.GetExtension(file)}"));

    private static string Slug(string prompt)
    {
        var slug = new StringBuilder();
        foreach (char c in prompt)
        {
            if (slug.Length == PromptLength)
            {
                break;
            }
            if (char.IsLetterOrDigit(c))
            {
                slug.Append(char.ToLowerInvariant(c));
            }
            else if (slug.Length > 0 && slug[^1] != '-')
            {
                slug.Append('-');
            }
        }
        return slug.ToString().Trim('-') is { Length: > 0 } text ? text : "empty";
    }

    [GeneratedRegex(@"\{([^{}/\\]*)\}")]
    private static partial Regex Placeholder();
}
