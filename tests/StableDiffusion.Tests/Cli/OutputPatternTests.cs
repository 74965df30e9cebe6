using StableDiffusion.Cli;
using StableDiffusion.Cli.Generate;

namespace StableDiffusion.Tests.Cli;

/// <summary>Names of output files, and the plan of prompts, seeds and counts behind them.</summary>
public class OutputPatternTests
{
    static IReadOnlyList<string> Files(string output, string[] prompts, ulong[] seeds, int count = 1) =>
        [.. OutputPattern.FilesFor(output, PlannedImage.Plan(prompts, seeds, count)).Select(f => f.Replace('\\', '/'))];

    [Test]
    public void FilesFor_OnePicture_IsTheNameGiven() => Assert.That(Files("a/b.png", ["x"], [1]), Is.EqualTo(new[] { "a/b.png" }));

    [Test]
    public void FilesFor_SeveralWithoutPlaceholder_AreNumbered() =>
        Assert.That(Files("a/b.png", ["x"], [1], count: 3), Is.EqualTo(new[] { "a/b-0001.png", "a/b-0002.png", "a/b-0003.png" }));

    [Test]
    public void FilesFor_Placeholders_AreFilled() =>
        Assert.That(Files("{index}_{prompt}_{seed}.png", ["A red  circle!", "b"], [7]), Is.EqualTo(new[] { "0001_a-red-circle_7.png", "0002_b_7.png" }));

    [Test]
    public void FilesFor_PlaceholderThatDoesNotTellThemApart_NumbersThemToo() =>
        Assert.That(Files("{seed}.png", ["x", "y"], [7]), Is.EqualTo(new[] { "7-0001.png", "7-0002.png" }));

    [Test]
    public void FilesFor_NamesThatDifferOnlyInCase_AreNumbered() =>
        Assert.That(Files("{prompt}.png", ["É", "é"], [7]), Is.EqualTo(new[] { "é-0001.png", "é-0002.png" }));

    [TestCase("", "empty")]
    [TestCase("../../etc/passwd", "etc-passwd")]
    [TestCase("a:b*c?d", "a-b-c-d")]
    [TestCase("☃☃", "empty")]
    public void FilesFor_PromptWithOddCharacters_IsASafeName(string prompt, string name) =>
        Assert.That(Files("{prompt}.png", [prompt], [1]), Is.EqualTo(new[] { $"{name}.png" }));

    [Test]
    public void FilesFor_LongPrompt_IsShortened() => Assert.That(Files("{prompt}.png", [new string('x', 5000)], [1])[0], Has.Length.LessThan(80));

    [Test]
    public void FilesFor_Folder_GetsIndexAndSeed() => Assert.That(Files("pics/", ["x"], [5], count: 2), Is.EqualTo(new[] { "pics/0001-5.png", "pics/0002-6.png" }));

    [Test]
    public void Plan_Count_GivesEveryPromptTheSameSeeds() =>
        Assert.That(PlannedImage.Plan(["x", "y"], [7], 2).Select(i => (i.Index, i.Prompt, i.Seed)), Is.EqualTo(new[] { (0, "x", 7ul), (1, "x", 8ul), (2, "y", 7ul), (3, "y", 8ul) }));

    [Test]
    public void Plan_LastSeed_WrapsAround() =>
        Assert.That(PlannedImage.Plan(["x"], [ulong.MaxValue], 2).Select(i => i.Seed), Is.EqualTo(new[] { ulong.MaxValue, 0ul }));

    [Test]
    public void Parse_Seeds_TakesListsRepetitionsAndMinusOne()
    {
        Assert.That(Seeds.Parse(["1,2", "3"]), Is.EqualTo(new ulong[] { 1, 2, 3 }));
        Assert.That(Seeds.Parse([]).Single(), Is.LessThan(1ul << 32));
        Assert.That(Seeds.Parse(["-1", "-1"]).Distinct().Count(), Is.EqualTo(2), "two random 32-bit numbers");
        Assert.Throws<CliException>(() => Seeds.Parse(["1.5"]));
    }

    [TestCase("", "abc", 3)]
    [TestCase("--step", "--steps", 1)]
    [TestCase("kitten", "sitting", 3)]
    public void EditDistance_KnownPairs_AreCounted(string left, string right, int distance) => Assert.That(EditDistance.Between(left, right), Is.EqualTo(distance));
}
