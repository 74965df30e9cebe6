namespace StableDiffusion.Cli;

/// <summary>Finds a model folder: as given, or beside the program, where the built-in demo model lies.</summary>
internal static class ModelLocator
{
    /// <summary>The built-in demo model.</summary>
    internal const string DemoModel = "models/shapes";

    /// <summary>The places a relative path is looked for, in order.</summary>
    internal static IReadOnlyList<string> Candidates(string model) =>
        [.. new[] { Path.GetFullPath(model), Path.GetFullPath(model, AppContext.BaseDirectory) }.Distinct()];

    /// <summary>The folder of a model in the diffusers layout.</summary>
    /// <exception cref="CliException">There is none; the text says what was looked for where.</exception>
    internal static string Find(string model)
    {
        IReadOnlyList<string> candidates = Candidates(model);
        foreach (string path in candidates)
        {
            if (File.Exists(Path.Combine(path, "model_index.json")))
            {
                return path;
            }
        }
        throw CliException.File($"model '{model}': {Reason(candidates)}; give the folder of a model in the diffusers layout, with model_index.json in it");
    }

    private static string Reason(IReadOnlyList<string> candidates) =>
        candidates.FirstOrDefault(Directory.Exists) is { } folder ? $"the folder {folder} has no model_index.json"
        : candidates.FirstOrDefault(File.Exists) is { } file ? $"{file} is a file, and single-file checkpoints are not supported yet"
        : $"there is no such folder (looked for {string.Join(" and ", candidates)})";
}
