using System.Text.Json;
using StableDiffusion.Cli;
using StableDiffusion.Imaging;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>generate</c> with the demo model, at small sizes and few steps.</summary>
public class GenerateCommandTests
{
    static readonly string[] Quick = ["--model", CliRunner.DemoModel, "--steps", "2", "--size", "32"];
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    CliRun Generate(params string[] args) => CliRunner.Run(["generate", .. args, .. Quick]);

    [Test]
    public void Generate_OnePrompt_WritesAPngThatInspectReadsBack()
    {
        string file = _folder["circle.png"];
        CliRun run = Generate("a red circle", "--negative", "blurry, blue", "--seed", "1024", "--guidance", "4.5", "--scheduler", "DPM++ 2M Karras", "-o", file);
        run.AssertOk();
        Assert.That(run.Out, Is.EqualTo($"wrote {file} (seed 1024){Environment.NewLine}"));
        JsonElement png = CliRunner.Run("inspect", file, "--json").JsonLines.Single();
        JsonElement parameters = png.GetProperty("parameters");
        Assert.That((png.GetProperty("width").GetInt32(), png.GetProperty("height").GetInt32()), Is.EqualTo((32, 32)));
        Assert.That(parameters.GetProperty("prompt").GetString(), Is.EqualTo("a red circle"));
        Assert.That(parameters.GetProperty("negative_prompt").GetString(), Is.EqualTo("blurry, blue"));
        Assert.That(parameters.GetProperty("seed").GetUInt64(), Is.EqualTo(1024));
        Assert.That(parameters.GetProperty("steps").GetInt32(), Is.EqualTo(2));
        Assert.That(parameters.GetProperty("guidance_scale").GetDouble(), Is.EqualTo(4.5));
        Assert.That(parameters.GetProperty("scheduler").GetString(), Is.EqualTo("DPM++ 2M"));
        Assert.That(parameters.GetProperty("schedule_type").GetString(), Is.EqualTo("Karras"));
        Assert.That(parameters.GetProperty("model").GetString(), Is.EqualTo("shapes"));
        Assert.That(CliRunner.Run("inspect", file).Out, Does.Contain("a red circle").And.Contain("1024").And.Contain("32x32"));
    }

    [TestCase("reference", "fp32", null, null)]
    [TestCase("fast", "fp32", "fast", null)]
    [TestCase("reference", "bf16", null, "BF16")]
    [TestCase("fast", "fp16", "fast", "F16")]
    public void Generate_PrecisionAndDType_AreInThePngWhereTheyAreNotTheDefault(string precision, string dtype, string? precisionTold, string? dtypeTold)
    {
        string file = _folder["x.png"];
        CliRun run = Generate("a ring", "--seed", "1", "--device", "cpu", "--precision", precision, "--dtype", dtype, "--json", "-o", file);
        run.AssertOk();
        Assert.That((run.JsonLines[0].GetProperty("precision").GetString(), run.JsonLines[0].GetProperty("dtype").GetString()), Is.EqualTo((precision, dtype)));
        JsonElement other = CliRunner.Run("inspect", file, "--json").JsonLines.Single().GetProperty("parameters").GetProperty("other");
        string? Told(string key) => other.TryGetProperty(key, out JsonElement value) ? value.GetString() : null;
        Assert.That((Told("Precision"), Told("Weight dtype"), Told("VAE dtype")), Is.EqualTo((precisionTold, dtypeTold, (string?)null)));
    }

    [TestCase("cuda")]
    [TestCase("rtx 3060")]
    public void Generate_RngOfAGpu_IsAnotherPictureThatTheOptionRepeats(string rng)
    {
        Generate("a red circle", "--seed", "1", "--dtype", "auto", "-o", _folder["cpu.png"]).AssertOk();
        Generate("a red circle", "--seed", "1", "--rng", rng, "-o", _folder["a.png"]).AssertOk();
        Generate("a red circle", "--seed", "1", "--rng", rng, "-o", _folder["b.png"]).AssertOk();
        Assert.That(File.ReadAllBytes(_folder["b.png"]), Is.EqualTo(File.ReadAllBytes(_folder["a.png"])));
        Assert.That(File.ReadAllBytes(_folder["cpu.png"]), Is.Not.EqualTo(File.ReadAllBytes(_folder["a.png"])));
        Assert.That(CliRunner.Run("inspect", _folder["a.png"]).Out, Does.Contain("GPU"));
    }

    [Test]
    public void Generate_SdxlOptions_ReachThePictureAndThePng()
    {
        string[] sdxl = ["--model", Fixtures.PathOf("models", "sdxl"), "--steps", "1", "--size", "32", "--seed", "1", "-q"];
        string[][] variants =
        [
            [],
            ["--prompt-2", "a dog"],
            ["--crop", "8x0"],
            ["--crop", "0x8"],
            ["--original-size", "64x32"],
            ["--original-size", "32x64"],
            ["--target-size", "64x32"],
            ["--negative", "blue"],
            ["--negative", "blue", "--negative-2", "red"],
            ["--negative-original-size", "16x16", "--negative-target-size", "16x16"],
            ["--negative-original-size", "16x16", "--negative-target-size", "16x16", "--negative-crop", "4x4"],
        ];
        var latents = new List<string>();
        foreach (string[] variant in variants)
        {
            CliRunner.Run(["generate", "a cat", .. variant, .. sdxl, "-o", _folder["out.png"], "--save-latents", _folder["l.safetensors"]]).AssertOk();
            latents.Add(Convert.ToHexString(File.ReadAllBytes(_folder["l.safetensors"])));
            if (variant.Contains("--prompt-2"))
            {
                Assert.That(CliRunner.Run("inspect", _folder["out.png"]).Out, Does.Contain("a dog"));
            }
        }
        Assert.That(latents.Distinct().Count(), Is.EqualTo(variants.Length), "each option changes the latents");
    }

    static IEnumerable<string> SchedulerClasses() => Scheduler.Names.Where(name => name.EndsWith("Scheduler", StringComparison.Ordinal));

    [TestCaseSource(nameof(SchedulerClasses))]
    public void Generate_EverySchedulerClass_Draws(string name) =>
        CliRunner.Run("generate", "a ring", "--scheduler", name, "--steps", "4", "--size", "32", "--model", CliRunner.DemoModel, "-o", _folder["out.png"]).AssertOk();

    [Test]
    public void Help_OfGenerate_NamesEverySchedulerAndWhatMayFollow()
    {
        string help = CliRunner.Run("generate", "--help").Out;
        foreach (string name in Scheduler.Names)
        {
            Assert.That(name.Split(' ').All(word => help.Contains(word, StringComparison.Ordinal)), name);
        }
    }

    [Test]
    public void Generate_Count_ImageIIsTheSingleImageOfSeedPlusI()
    {
        Generate("a green star", "--seed", "7", "--count", "3", "-o", _folder["many-{seed}.png"]).AssertOk();
        Generate("a green star", "--seed", "7", "--count", "3", "--batch-size", "3", "-o", _folder["batch-{seed}.png"]).AssertOk();
        Assert.That(_folder.Files, Is.EqualTo(new[] { "batch-7.png", "batch-8.png", "batch-9.png", "many-7.png", "many-8.png", "many-9.png" }));
        foreach (int seed in new[] { 7, 8, 9 })
        {
            Generate("a green star", "--seed", $"{seed}", "-o", _folder["one.png"]).AssertOk();
            byte[] alone = File.ReadAllBytes(_folder["one.png"]);
            Assert.That(File.ReadAllBytes(_folder[$"many-{seed}.png"]), Is.EqualTo(alone), $"seed {seed}");
            Assert.That(File.ReadAllBytes(_folder[$"batch-{seed}.png"]), Is.EqualTo(alone), $"seed {seed} in a batch");
        }
    }

    [Test]
    public void Generate_SeveralPromptsInOneBatch_AreWhatEachDrawsAlone()
    {
        Generate("a red ring", "a blue heart", "-n", "green", "-n", "white", "--seed", "5", "--batch-size", "2", "-o", _folder["{prompt}.png"]).AssertOk();
        Generate("a blue heart", "-n", "white", "--seed", "5", "-o", _folder["alone.png"]).AssertOk();
        Assert.That(_folder.Files, Is.EqualTo(new[] { "a-blue-heart.png", "a-red-ring.png", "alone.png" }));
        Assert.That(File.ReadAllBytes(_folder["a-blue-heart.png"]), Is.EqualTo(File.ReadAllBytes(_folder["alone.png"])));
        Assert.That(File.ReadAllBytes(_folder["a-red-ring.png"]), Is.Not.EqualTo(File.ReadAllBytes(_folder["alone.png"])));
    }

    [Test]
    public void Generate_SeveralSeedsIntoAFolder_OnePictureEach()
    {
        Generate("a cyan diamond", "--seed", "3,5", "--seed", "11", "-o", _folder["pictures/"]).AssertOk();
        Assert.That(_folder.Files, Is.EqualTo(new[] { "pictures/0001-3.png", "pictures/0002-5.png", "pictures/0003-11.png" }));
    }

    [Test]
    public void Generate_NoSeed_TellsTheOneThatDrawsItAgain()
    {
        CliRun run = Generate("a yellow cross", "--json", "-o", _folder["first.png"]);
        string seed = run.JsonLines[^1].GetProperty("seeds")[0].GetRawText();
        Generate("a yellow cross", "--seed", seed, "-o", _folder["second.png"]).AssertOk();
        Assert.That(File.ReadAllBytes(_folder["second.png"]), Is.EqualTo(File.ReadAllBytes(_folder["first.png"])));
    }

    [Test]
    public void Generate_Json_IsEventsAndOneResultAndNothingElse()
    {
        string file = _folder["out.png"];
        CliRun run = Generate("a ring", "--seed", "1", "--json", "-o", file);
        run.AssertOk();
        Assert.That(run.Error, Is.Empty);
        IReadOnlyList<JsonElement> lines = run.JsonLines;
        Assert.That(lines[0].GetProperty("event").GetString(), Is.EqualTo("start"));
        JsonElement[] progress = [.. lines.Where(l => l.GetProperty("event").GetString() == "progress")];
        double[] fractions = [.. progress.Select(l => l.GetProperty("fraction").GetDouble())];
        Assert.That(fractions, Is.Ordered);
        Assert.That(fractions[^1], Is.EqualTo(1));
        Assert.That(progress.Select(l => l.GetProperty("phase").GetString()).Distinct(), Is.EqualTo(new[] { "text_encoding", "denoising", "decoding" }));
        Assert.That(progress.Max(l => l.GetProperty("step").GetInt32()), Is.EqualTo(2));
        Assert.That(lines[^2].GetProperty("event").GetString(), Is.EqualTo("image"));
        JsonElement result = lines[^1];
        Assert.That(result.GetProperty("event").GetString(), Is.EqualTo("result"));
        Assert.That(result.GetProperty("files")[0].GetString(), Is.EqualTo(file));
        Assert.That(result.GetProperty("seeds")[0].GetInt32(), Is.EqualTo(1));
        Assert.That(result.GetProperty("seconds").GetDouble(), Is.Positive);
        Assert.That(result.GetProperty("warnings").GetArrayLength(), Is.Zero);
    }

    [Test]
    public void Generate_Quiet_PrintsNothing()
    {
        CliRun run = Generate("a heart", "--quiet", "-o", _folder["out.png"]);
        run.AssertOk();
        Assert.That((run.Out, run.Error), Is.EqualTo(("", "")));
    }

    [Test]
    public void Generate_OnATerminal_ShowsABarAndThenTheFiles()
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        string[] args = ["generate", "a square", "--seed", "1", "-o", _folder["out.png"], .. Quick];
        int code = CommandLineApp.Run(args, new Terminal(output, error, outIsTerminal: true, errIsTerminal: true), CancellationToken.None);
        Assert.That(code, Is.Zero, error.ToString());
        Assert.That(output.ToString(), Is.EqualTo($"wrote {_folder["out.png"]} (seed 1){Environment.NewLine}"));
        Assert.That(error.ToString(), Does.Contain("%").And.Contain("1 picture in"));
    }

    [Test]
    public void Generate_EmptyPrompt_Draws() => Generate("", "--seed", "1", "-o", _folder["{prompt}.png"]).AssertOk();

    [Test]
    public void Generate_VeryLongPrompt_DrawsAndWarnsOnceOfWhatWasDropped()
    {
        string prompt = string.Concat(Enumerable.Repeat("red circle ", 1000))[..^12] + " zebra";
        CliRun run = Generate(prompt, "--count", "2", "--quiet", "-o", _folder["out.png"]);
        run.AssertOk();
        Assert.That(run.Error, Does.StartWith("warning: ").And.Contain("zebra"));
        Assert.That(run.Error.TrimEnd().Split('\n'), Has.Length.EqualTo(1));
        Assert.That(_folder.Files.Count(), Is.EqualTo(2));
    }

    [Test]
    public void Generate_PromptWithDashes_GoesAfterTwo()
    {
        Generate("--steppes of red", "-o", _folder["a.png"]).AssertOk();
        CliRunner.Run(["generate", .. Quick, "-o", _folder["{prompt}.png"], "--", "--steppes"]).AssertOk();
        Assert.That(_folder.Files, Does.Contain("steppes.png"));
    }

    [Test]
    public void Generate_SavedLatents_CanBeStartedFrom()
    {
        string latents = _folder["latents.safetensors"];
        Generate("a ring", "--seed", "1", "--save-latents", latents, "-o", _folder["first.png"]).AssertOk();
        Assert.That(CliRunner.Run("inspect", latents).Out, Does.Contain("latents").And.Contain("[1, 4, 4, 4]"));
        // DDIM adds no noise, so the initial latents alone decide, whatever the seed.
        Generate("a ring", "--seed", "2", "--latents", latents, "-o", _folder["a.png"]).AssertOk();
        Generate("a ring", "--seed", "3", "--latents", latents, "-o", _folder["b.png"]).AssertOk();
        RgbImage a = RgbImage.Load(_folder["a.png"]), b = RgbImage.Load(_folder["b.png"]), first = RgbImage.Load(_folder["first.png"]);
        Assert.That(a.Pixels.SequenceEqual(b.Pixels));
        Assert.That(a.Pixels.SequenceEqual(first.Pixels), Is.False);
    }

    [Test]
    public void Generate_CancelledWhileDrawing_LeavesNoFile()
    {
        using var cancellation = new CancellationTokenSource();
        using var error = new StringWriter();
        using var output = new CancellingWriter("denoising", cancellation);
        string[] args = ["generate", "a ring", "--json", "--save-latents", _folder["l.safetensors"], "-o", _folder["out.png"], .. Quick];
        int code = CommandLineApp.Run(args, output, error, cancellation.Token);
        Assert.That(code, Is.EqualTo(ExitCode.Cancelled));
        Assert.That(error.ToString(), Is.EqualTo($"cancelled{Environment.NewLine}"));
        Assert.That(output.ToString(), Does.Not.Contain("result"));
        Assert.That(_folder.Files, Is.Empty);
    }

    [Test]
    public void Generate_CtrlC_EndsWithItsExitCode()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore("Windows has no signals to send to a process.");
        }
        CliRun run = CliRunner.RunProcessAndInterrupt(new Dictionary<string, string>(), interruptAfter: "denoising",
            ["generate", "a ring", "--json", "--count", "1000", "-o", _folder["{seed}.png"], "--model", CliRunner.DemoModel]);
        Assert.That(run.ExitCode, Is.EqualTo(ExitCode.Cancelled), run.Error);
        Assert.That(run.Error.Trim(), Is.EqualTo("cancelled"));
        Assert.That(_folder.Files, Has.None.Contains(".part").And.None.Contains(".tmp"));
    }

    /// <summary>Cancels as soon as a line has a word in it.</summary>
    private sealed class CancellingWriter(string word, CancellationTokenSource cancellation) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (value?.Contains(word, StringComparison.Ordinal) == true)
            {
                cancellation.Cancel();
            }
        }
    }
}
