using System.IO.Compression;
using System.Text.Json;

namespace StableDiffusion.Tests.Support;

/// <summary>
/// The reference fixtures: JSON documents, each with a safetensors file of the same name beside it. The folder is the environment
/// variable <c>SDN_FIXTURES</c> where that is set, else <c>tests/fixtures</c> of the repository the test assembly lies in.
/// </summary>
public static class Fixtures
{
    const string Variable = "SDN_FIXTURES";

    static readonly Lazy<string> LazyRoot = new(FindRoot);

    /// <summary>Absolute path of the fixture folder.</summary>
    public static string Root => LazyRoot.Value;

    /// <summary>Absolute path of something below the fixture folder.</summary>
    public static string PathOf(params string[] parts) => Path.Combine([Root, .. parts]);

    /// <summary>Absolute path of the repository, the first parent folder of the test assembly with the solution in it.</summary>
    public static string RepositoryRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "StableDiffusion.Native.sln")))
            {
                return folder.FullName;
            }
        }
        throw new DirectoryNotFoundException($"No parent of {AppContext.BaseDirectory} holds StableDiffusion.Native.sln.");
    }

    /// <summary>Root element of a JSON document below the fixture folder, unpacked if its name ends in .gz. It stays valid: the document is not disposed.</summary>
    public static JsonElement ReadJson(params string[] parts)
    {
        using FileStream stream = File.OpenRead(PathOf(parts));
        using Stream text = parts[^1].EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(stream, CompressionMode.Decompress) : stream;
        return JsonDocument.Parse(text).RootElement;
    }

    /// <summary>The tensors of a safetensors file below the fixture folder.</summary>
    public static TensorFile ReadTensors(params string[] parts) => TensorFile.Read(PathOf(parts));

    static string FindRoot()
    {
        string? chosen = Environment.GetEnvironmentVariable(Variable);
        string root = string.IsNullOrEmpty(chosen) ? Path.Combine(RepositoryRoot(), "tests", "fixtures") : Path.GetFullPath(chosen);
        return Directory.Exists(root)
            ? root
            : throw new DirectoryNotFoundException($"The fixture folder {root} does not exist ({Variable}={chosen ?? "unset"}).");
    }
}
