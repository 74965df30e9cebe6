using System.Text.Json;
using StableDiffusion.Cli;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>generate --timesteps</c> and <c>--sigmas</c>.</summary>
public class ScheduleOptionTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    CliRun Generate(params string[] args) => CliRunner.Run(["generate", "a red circle", "--model", CliRunner.DemoModel, "--size", "32", "--seed", "1", "-o", _folder["a.png"], .. args]);

    [TestCase("--timesteps", "999,600,200", "Euler", 3, "999 600 200")]
    [TestCase("--timesteps", "ays", "DPM++ 2M", 10, "999 850 736 645 545 455 343 233 124 24")]
    [TestCase("--sigmas", "14.6,3.2,0.9,0", "Euler", 3, "14.6 3.2 0.9 0")]
    [TestCase("--sigmas", "AYS", "Euler", 10, "14.615 6.475 3.861 2.697 1.886 1.396 0.963 0.652 0.399 0.152 0")]
    public void Generate_ListOrAys_IsDrawnAndInThePng(string option, string value, string scheduler, int steps, string written)
    {
        Generate(option, value, "--scheduler", scheduler).AssertOk();
        JsonElement parameters = CliRunner.Run("inspect", _folder["a.png"], "--json").JsonLines.Single().GetProperty("parameters");
        Assert.That(parameters.GetProperty("steps").GetInt32(), Is.EqualTo(steps));
        Assert.That(CliRunner.Run("inspect", _folder["a.png"]).Out, Does.Contain(written));
    }

    // Of AlignYourStepsTests.
    [Test]
    public void Generate_AysWithSteps_IsLaidOutForThem()
    {
        Generate("--timesteps", "ays", "--steps", "4", "--scheduler", "DPM++ 2M").AssertOk();
        Assert.That(CliRunner.Run("inspect", _folder["a.png"]).Out, Does.Contain("999 692 455 174"));
    }

    [TestCase("--timesteps: '1,2' is neither ays nor a list of descending numbers", "--timesteps", "1,2")]
    [TestCase("--timesteps: 'x' is neither", "--timesteps", "x")]
    [TestCase("--sigmas: '3' is neither ays nor a list of at least two", "--sigmas", "3")]
    [TestCase("--timesteps together with --sigmas", "--timesteps", "ays", "--sigmas", "ays")]
    [TestCase("--steps: 5 does not fit --timesteps, which has 2; leave --steps out", "--timesteps", "9,8", "--steps", "5")]
    [TestCase("--steps: 100 is too many for Align Your Steps", "--timesteps", "ays", "--steps", "100")]
    [TestCase("DDIMScheduler does not take timesteps of one's own", "--timesteps", "ays")]
    public void Generate_ScheduleThatCannotBe_IsAUsageError(string message, params string[] args)
    {
        CliRun run = Generate(args);
        Assert.That(run.ExitCode, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain(message));
    }
}
