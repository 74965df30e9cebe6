using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Packaging;

/// <summary>
/// A fresh console project in a folder of its own outside the repository, as a user would make it, with one reference to the library. Its
/// builds leave no build server behind and need no network.
/// </summary>
sealed class Consumer : IDisposable
{
    static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);
    readonly TemporaryFolder folder = new();

    /// <param name="reference">The item that references the library.</param>
    /// <param name="program">Text of Program.cs.</param>
    public Consumer(string reference, string program)
    {
        // The analyzer of single-file publishing is a package of its own, and not what is tested.
        File.WriteAllText(folder["consumer.csproj"], $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <EnableSingleFileAnalyzer>false</EnableSingleFileAnalyzer>
              </PropertyGroup>
              <ItemGroup>
                {reference}
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(folder["Program.cs"], program);
        Directory.CreateDirectory(Elsewhere);
    }

    /// <summary>Path of something in the project's folder.</summary>
    public string this[string name] => folder[name];

    /// <summary>An empty folder that the program is run in.</summary>
    public string Elsewhere => folder["elsewhere"];

    /// <summary>Packages only from a folder, into a cache of its own; what that folder lacks, from what this machine has already.</summary>
    public void RestorePackagesFrom(string source)
    {
        string machine = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } packages
            ? packages
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        File.WriteAllText(folder["nuget.config"], $"""
            <configuration>
              <packageSources><clear /><add key="local" value="{source}" /></packageSources>
              <config><add key="globalPackagesFolder" value="{folder["packages"]}" /></config>
              <fallbackPackageFolders><clear /><add key="machine" value="{machine}" /></fallbackPackageFolders>
            </configuration>
            """);
    }

    /// <summary>Builds the project and runs the program in <see cref="Elsewhere"/>.</summary>
    /// <returns>What the program printed.</returns>
    public string BuildAndRun() => BuildAndRun("build");

    /// <summary>Publishes the project as one file and runs it in <see cref="Elsewhere"/>.</summary>
    /// <returns>What the program printed.</returns>
    public string PublishAsSingleFileAndRun() => BuildAndRun(
        "publish", "--use-current-runtime", "--self-contained", "false", "-p:PublishSingleFile=true", "-p:DebugType=embedded");

    /// <summary>Runs dotnet with build servers off.</summary>
    public static void Dotnet(string folder, params string[] arguments)
    {
        CommandResult result = Command.Run(Command.Dotnet, [.. arguments, "--disable-build-servers", "-nodeReuse:false", "-nologo"], Limit, folder);
        Assert.That(result.ExitCode, Is.Zero, $"dotnet {string.Join(" ", arguments)}\n{result.Output}");
    }

    public void Dispose() => folder.Dispose();

    string BuildAndRun(params string[] command)
    {
        Dotnet(folder.Path, [.. command, "-c", "Release", "-o", folder["out"]]);
        string program = Path.Combine(folder["out"], OperatingSystem.IsWindows() ? "consumer.exe" : "consumer");
        CommandResult result = Command.Run(program, [], Limit, Elsewhere, ("SDN_LIBRARY", null));
        Assert.That(result.ExitCode, Is.Zero, result.Output);
        return result.Output;
    }
}
