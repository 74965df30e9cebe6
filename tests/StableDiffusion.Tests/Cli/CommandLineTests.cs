using StableDiffusion.Cli;

namespace StableDiffusion.Tests.Cli;

/// <summary>What all commands share: help, version, usage errors, exit codes.</summary>
public class CommandLineTests
{
    static IEnumerable<System.CommandLine.Command> Commands() =>
        CommandLineApp.CreateRoot(new Terminal(TextWriter.Null, TextWriter.Null), CancellationToken.None).Subcommands;

    static IEnumerable<string> CommandNames() => Commands().Select(c => c.Name);

    [TestCaseSource(nameof(CommandNames))]
    public void Help_OfACommand_MentionsEveryOptionWithADescriptionAndAnExample(string name)
    {
        CliRun run = CliRunner.Run(name, "--help");
        run.AssertOk();
        System.CommandLine.Command command = Commands().Single(c => c.Name == name);
        foreach (System.CommandLine.Option option in command.Options)
        {
            Assert.That(run.Out, Does.Contain(option.Name));
            Assert.That(option.Description, Is.Not.Null.And.Not.Empty, option.Name);
        }
        foreach (System.CommandLine.Argument argument in command.Arguments)
        {
            Assert.That(argument.Description, Is.Not.Null.And.Not.Empty, argument.Name);
        }
        Assert.That(run.Out, Does.Contain("Example").And.Contain($"{CommandLineApp.Name} {name}"));
    }

    [Test]
    public void Help_OfTheProgram_ListsCommandsAndExitCodes()
    {
        CliRun run = CliRunner.Run("--help");
        run.AssertOk();
        foreach (string name in CommandNames())
        {
            Assert.That(run.Out, Does.Contain(name));
        }
        foreach ((int code, string meaning) in ExitCode.All)
        {
            Assert.That(run.Out, Does.Contain($"{code,3}  {meaning}"));
        }
    }

    [Test]
    public void Run_NoArguments_ShowsTheHelp() => Assert.That(CliRunner.Run().Out, Is.EqualTo(CliRunner.Run("--help").Out));

    [Test]
    public void Run_Version_PrintsItAlone()
    {
        CliRun run = CliRunner.Run("--version");
        run.AssertOk();
        Assert.That(run.Out.Trim(), Does.Match(@"^\d+\.\d+\.\d+\S*$"));
    }

    [Test]
    public void Run_UnknownCommand_IsAUsageError() => CliRunner.Run("draw", "a cat").AssertError(ExitCode.Usage, "draw", "--help");

    [Test]
    public void Run_MissingArgument_IsAUsageError() => CliRunner.Run("inspect").AssertError(ExitCode.Usage, "PATH", "inspect --help");

    [TestCase("512", 512, 512)]
    [TestCase("768x512", 768, 512)]
    [TestCase("768X512", 768, 512)]
    public void TryParseSize_ValidText_GivesBothSides(string text, int width, int height)
    {
        Assert.That(Units.TryParseSize(text, out int w, out int h));
        Assert.That((w, h), Is.EqualTo((width, height)));
    }

    [TestCase("")]
    [TestCase("x")]
    [TestCase("512x")]
    [TestCase("1x2x3")]
    [TestCase("ax5")]
    [TestCase("99999999999")]
    public void TryParseSize_OtherText_IsRefused(string text) => Assert.That(Units.TryParseSize(text, out _, out _), Is.False);

    [TestCase("4G", 4L << 30)]
    [TestCase("1.5g", 3L << 29)]
    [TestCase("800M", 800L << 20)]
    [TestCase("800MB", 800L << 20)]
    [TestCase("800MiB", 800L << 20)]
    [TestCase("123456", 123456L)]
    public void TryParseBytes_ValidText_GivesBytes(string text, long bytes)
    {
        Assert.That(Units.TryParseBytes(text, out long? parsed));
        Assert.That(parsed, Is.EqualTo(bytes));
    }

    [TestCase("")]
    [TestCase("G")]
    [TestCase("-1G")]
    [TestCase("0")]
    [TestCase("lots")]
    [TestCase("1e3")]
    [TestCase("NaN")]
    public void TryParseBytes_OtherText_IsRefused(string text) => Assert.That(Units.TryParseBytes(text, out _), Is.False);
}
