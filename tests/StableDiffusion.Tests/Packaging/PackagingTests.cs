using System.IO.Compression;
using System.Reflection;
using System.Text.RegularExpressions;
using StableDiffusion.Imaging;
using StableDiffusion.Tests.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Packaging;

/// <summary>The first use of all: a project outside this repository references the library, by package or by project, and draws.</summary>
[Category("Packaging")]
public partial class PackagingTests
{
    // The five lines of the README, and where the library they ran with came from.
    static readonly string Program = $"""
        using StableDiffusion.Native;
        using StableDiffusion.Pipelines;

        {CSharpBlock().Match(File.ReadAllText(Path.Combine(Fixtures.RepositoryRoot(), "README.md"))).Groups[1].Value}
        Console.WriteLine(NativeLibraryLocator.Path);
        """;

    // Of its own for each run, so that no cache can have it already.
    static readonly string Version = $"0.1.0-test.{DateTime.UtcNow.Ticks}";
    static readonly string Library = Path.Combine(Fixtures.RepositoryRoot(), "src", "StableDiffusion", "StableDiffusion.csproj");

    TemporaryFolder packages = null!;

    [OneTimeSetUp]
    public void Pack()
    {
        packages = new TemporaryFolder();
        string configuration = typeof(PackagingTests).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!.Configuration;
        foreach (string project in new[] { Library, Path.Combine(Fixtures.RepositoryRoot(), "bindings", "StableDiffusion.Native", "StableDiffusion.Native.csproj") })
        {
            Consumer.Dotnet(Fixtures.RepositoryRoot(), "pack", project, "-c", configuration, "--no-build", "-o", packages.Path, $"-p:Version={Version}");
        }
    }

    [OneTimeTearDown]
    public void DeletePackages() => packages?.Dispose();

    [Test]
    public void Pack_Bindings_HoldNativeLibraryReadmeAndLicence()
    {
        string[] files = Entries("StableDiffusion.Native.Bindings");
        Assert.That(files, Does.Contain("README.md").And.Contain("LICENSE").And.Contain("lib/net10.0/StableDiffusion.Native.dll"));
        Assert.That(files.Count(file => file.StartsWith("runtimes/", StringComparison.Ordinal) && file.Contains("/native/")), Is.EqualTo(1));
    }

    [Test]
    public void Pack_Library_HoldsDemoModelWithoutItsTraining()
    {
        string[] files = Entries("StableDiffusion.Native");
        string[] expected = ["README.md", "LICENSE", "lib/net10.0/StableDiffusion.dll", "models/shapes/model_index.json", "models/shapes/README.md",
            "models/shapes/unet/diffusion_pytorch_model.safetensors", "models/shapes/tokenizer/merges.txt", "buildTransitive/StableDiffusion.Native.targets"];
        Assert.That(expected, Is.SubsetOf(files));
        Assert.That(files, Has.None.Contains("training"));
    }

    [Test]
    public void Package_Built_Draws()
    {
        using Consumer consumer = ByPackage();
        AssertDrew(consumer, consumer.BuildAndRun());
    }

    [Test]
    public void Package_PublishedAsSingleFile_Draws()
    {
        using Consumer consumer = ByPackage();
        AssertDrew(consumer, consumer.PublishAsSingleFileAndRun());
    }

    [Test]
    public void Project_Built_Draws()
    {
        using Consumer consumer = ByProject();
        AssertDrew(consumer, consumer.BuildAndRun());
    }

    [Test]
    public void Project_PublishedAsSingleFile_Draws()
    {
        using Consumer consumer = ByProject();
        AssertDrew(consumer, consumer.PublishAsSingleFileAndRun());
    }

    Consumer ByPackage()
    {
        var consumer = new Consumer($"""<PackageReference Include="StableDiffusion.Native" Version="{Version}" />""", Program);
        consumer.RestorePackagesFrom(packages.Path);
        return consumer;
    }

    static Consumer ByProject() => new($"""<ProjectReference Include="{Library}" />""", Program);

    static void AssertDrew(Consumer consumer, string output)
    {
        Assert.That(output, Does.Contain(consumer["out"]), "the library that came with the program");
        using RgbImage image = RgbImage.Load(Path.Combine(consumer.Elsewhere, "circle.png"));
        (string background, string shape, _) = ShapeJudge.Colours(image);
        Assert.That((image.Width, image.Height, shape, background), Is.EqualTo((128, 128, "red", "blue")));
    }

    string[] Entries(string id)
    {
        using ZipArchive package = ZipFile.OpenRead(packages[$"{id}.{Version}.nupkg"]);
        return [.. package.Entries.Select(entry => entry.FullName)];
    }

    [GeneratedRegex(@"```csharp\r?\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();
}
