using System.Text.RegularExpressions;
using StableDiffusion.Imaging;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Schedulers;

/// <summary>docs/schedulers.md names every scheduler there is and shows every picture it names.</summary>
public partial class SchedulerDocumentTests
{
    private const int MostPictureBytes = 600_000;

    private static readonly string Folder = Path.Combine(Fixtures.RepositoryRoot(), "docs");

    private static readonly string Text = File.ReadAllText(Path.Combine(Folder, "schedulers.md"));

    private static readonly string[] Suffixes = ["Karras", "Exponential", "Beta", "SGM Uniform"];

    private static IEnumerable<string> Names() => Scheduler.Names.Where(name => !Suffixes.Any(suffix => name.EndsWith($" {suffix}", StringComparison.Ordinal))).Concat(Suffixes);

    [TestCaseSource(nameof(Names))]
    public void Document_EverySchedulerOfTheCatalog_IsInATable(string name)
        => Assert.That(Text.Split('\n').Where(line => line.StartsWith('|')), Has.Some.Matches($@"^\| {Regex.Escape(name)} \||\*\*{Regex.Escape(name)}\*\*|`{Regex.Escape(name)}`"));

    [Test]
    public void Document_EveryRow_NamesASchedulerThatExists()
    {
        string[] rows = [.. Picture().Matches(Text).Select(match => match.Groups["name"].Value).Where(name => !name.EndsWith(" AYS", StringComparison.Ordinal))];
        Assert.That(rows, Is.SubsetOf(Scheduler.Names).And.Unique);
    }

    [Test]
    public void Document_Pictures_AreThoseOfTheFolder()
    {
        string[] named = [.. Picture().Matches(Text).Select(match => match.Groups["file"].Value)];
        FileInfo[] files = new DirectoryInfo(Path.Combine(Folder, "schedulers")).GetFiles();
        Assert.That(files.Select(file => file.Name), Is.EquivalentTo(named));
        Assert.That(files.Sum(file => file.Length), Is.LessThanOrEqualTo(MostPictureBytes));
        foreach (FileInfo file in files)
        {
            using RgbImage strip = RgbImage.Load(file.FullName);
            Assert.That((strip.Width, strip.Height), Is.EqualTo((512, 128)), file.Name);
        }
    }

    [GeneratedRegex(@"!\[(?<name>[^\]]+)\]\(schedulers/(?<file>[^)]+)\)")]
    private static partial Regex Picture();
}
