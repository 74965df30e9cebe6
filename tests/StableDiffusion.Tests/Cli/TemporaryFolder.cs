namespace StableDiffusion.Tests.Cli;

/// <summary>A folder that is gone after the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    internal TemporaryFolder() => Path = Directory.CreateTempSubdirectory("sdn-cli-").FullName;

    internal string Path { get; }

    internal string this[string name] => System.IO.Path.Combine(Path, name);

    internal IEnumerable<string> Files => Directory.EnumerateFiles(Path, "*", SearchOption.AllDirectories)
        .Select(f => System.IO.Path.GetRelativePath(Path, f).Replace('\\', '/')).Order(StringComparer.Ordinal);

    /// <summary>A copy of the demo model, to be damaged.</summary>
    internal string CopyDemoModel()
    {
        string target = this["model"];
        foreach (string file in Directory.EnumerateFiles(CliRunner.DemoModel, "*", SearchOption.AllDirectories).Where(f => !f.Contains("training")))
        {
            string copy = System.IO.Path.Combine(target, System.IO.Path.GetRelativePath(CliRunner.DemoModel, file));
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
        return target;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
