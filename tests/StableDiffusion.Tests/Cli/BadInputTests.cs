using System.Buffers.Binary;
using System.Text;
using StableDiffusion.Cli;
using StableDiffusion.Native;

namespace StableDiffusion.Tests.Cli;

/// <summary>What cannot be drawn: one line that says what, why and what to do, and its exit code.</summary>
public class BadInputTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    CliRun Generate(params string[] args) => CliRunner.Run(["generate", "a ring", "-o", _folder["out.png"], .. args]);

    static IEnumerable<TestCaseData> BadArguments()
    {
        (string Name, int Code, string[] Args, string[] Words)[] cases =
        [
            ("SizeNotAMultipleOf8", ExitCode.Usage, ["--size", "100x64"], ["width: 100", "multiple of 8", "96"]),
            ("HeightNotAMultipleOf8", ExitCode.Usage, ["--height", "130"], ["height: 130", "128"]),
            ("SizeZero", ExitCode.Usage, ["--size", "0x64"], ["--size", "'0x64'", "768x512"]),
            ("SizeNegative", ExitCode.Usage, ["--width", "-64"], ["--width", "'-64'"]),
            ("SizeHuge", ExitCode.Usage, ["--size", "80000"], ["80000", "pixels"]),
            ("SizeTwice", ExitCode.Usage, ["--size", "64", "--width", "64"], ["--size", "--width"]),
            ("StepsZero", ExitCode.Usage, ["--steps", "0"], ["--steps", "'0'", "from 1 to 1000"]),
            ("StepsNegative", ExitCode.Usage, ["--steps", "-3"], ["--steps", "'-3'"]),
            ("StepsNoNumber", ExitCode.Usage, ["--steps", "many"], ["--steps", "'many'"]),
            ("GuidanceNaN", ExitCode.Usage, ["--guidance-scale", "NaN"], ["--guidance-scale", "NaN", "finite"]),
            ("GuidanceInfinite", ExitCode.Usage, ["--guidance", "1e999"], ["--guidance-scale", "finite"]),
            ("GuidanceRescaleOutOfRange", ExitCode.Usage, ["--guidance-rescale", "2"], ["--guidance-rescale", "from 0 to 1"]),
            ("EtaOutOfRange", ExitCode.Usage, ["--eta", "-1"], ["--eta", "from 0 to 1"]),
            ("SchedulerUnknown", ExitCode.Usage, ["--scheduler", "euler b"], ["'euler b'", "did you mean 'Euler a'?", "EulerDiscreteScheduler", "DPM++ 2M", "Karras"]),
            ("ClipSkipTooMuch", ExitCode.Usage, ["--clip-skip", "9", "--steps", "1"], ["clip skip"]),
            ("CountZero", ExitCode.Usage, ["--count", "0"], ["--count"]),
            ("SeedNoNumber", ExitCode.Usage, ["--seed", "lucky"], ["--seed", "'lucky'", "-1"]),
            ("SeedTooLong", ExitCode.Usage, ["--seed", "99999999999999999999"], ["--seed"]),
            ("SeedsWithCount", ExitCode.Usage, ["--seed", "1,2", "--count", "2"], ["--count", "seed"]),
            ("NegativesWithoutPrompts", ExitCode.Usage, ["-n", "a", "-n", "b"], ["--negative", "2 times", "1 prompt"]),
            ("SdxlOptionWithoutSdxl", ExitCode.Usage, ["--crop", "1x2"], ["--crop", "SDXL"]),
            ("RngUnknown", ExitCode.Usage, ["--rng", "abacus"], ["--rng", "'abacus'", "RTX 4090"]),
            ("DtypeUnknown", ExitCode.Usage, ["--dtype", "q8"], ["--dtype", "'q8'", "int8"]),
            ("DtypeOfAnotherDevice", ExitCode.Failure, ["--dtype", "int8", "--device", "cpu:portable"], ["int8", "AVX512_VNNI", "cpu:portable"]),
            ("MemoryLimitNoAmount", ExitCode.Usage, ["--memory-limit", "lots"], ["--memory-limit", "'lots'", "4G"]),
            ("OptionMisspelt", ExitCode.Usage, ["--step", "5"], ["'--step'", "--steps"]),
            ("OptionUnknown", ExitCode.Usage, ["--frobnicate=9"], ["'--frobnicate=9'", "no such option"]),
            ("OptionWithoutValue", ExitCode.Usage, ["--steps"], ["--steps"]),
            ("ModelMissing", ExitCode.File, ["--model", "no/such/model"], ["no/such/model", "diffusers layout"]),
            ("ModelIsAFile", ExitCode.File, ["--model", typeof(BadInputTests).Assembly.Location], ["StableDiffusion.Tests.dll", "safetensors"]),
            ("LatentsMissing", ExitCode.File, ["--latents", "no-such.safetensors"], ["no-such.safetensors"]),
            ("DeviceUnknown", ExitCode.Device, ["--device", "tpu"], ["'tpu'", "cpu", "doctor"]),
            ("InstructionSetUnknown", ExitCode.Device, ["--device", "cpu:z80"], ["z80", "portable", "doctor"]),
            ("MemoryForWeights", ExitCode.Memory, ["--memory-limit", "10M"], ["19 MB", "10 MB"]),
            ("MemoryForThePlan", ExitCode.Memory, ["--memory-limit", "30M", "--size", "1024"], ["1024x1024", "MB"]),
        ];
        return cases.Select(c => new TestCaseData(c.Code, c.Args, c.Words) { TestName = $"Generate_{c.Name}_IsOneLineAndExitCode{c.Code}" });
    }

    [TestCaseSource(nameof(BadArguments))]
    public void Generate_BadArguments_IsOneLineAndItsExitCode(int code, string[] args, string[] words)
    {
        string[] model = args.Contains("--model") ? [] : ["--model", CliRunner.DemoModel];
        Generate([.. args, .. model]).AssertError(code, words);
        Assert.That(_folder.Files, Is.Empty);
    }

    [TestCase("out.jpg", ExitCode.Usage, ".jpg", ".png")]
    [TestCase("out", ExitCode.Usage, "no extension", ".png")]
    [TestCase("{sed}.png", ExitCode.Usage, "{sed}", "{seed}")]
    [TestCase("file.txt/out.png", ExitCode.File, "file.txt", "not a folder")]
    public void Generate_UnusableOutput_IsNoticedBeforeTheModelIsLoaded(string output, int code, params string[] words)
    {
        File.WriteAllText(_folder["file.txt"], "");
        string broken = _folder.CopyDemoModel();
        File.WriteAllText(Path.Combine(broken, "unet", "config.json"), "not JSON");
        CliRunner.Run("generate", "a ring", "-o", _folder[output], "--model", broken).AssertError(code, words);
    }

    [Test]
    public void Generate_CudaWithoutOne_SaysWhy()
    {
        if (Device.Count(DeviceKind.Cuda).Count > 0)
        {
            Assert.Ignore("This machine has a CUDA device.");
        }
        Generate("--device", "cuda", "--model", CliRunner.DemoModel).AssertError(ExitCode.Device, "cuda", "CUDA", "doctor");
    }

    [Test]
    public void Generate_MissingWeights_NamesTheFolder()
    {
        string model = _folder.CopyDemoModel();
        File.Delete(Path.Combine(model, "unet", "diffusion_pytorch_model.safetensors"));
        Generate("--model", model).AssertError(ExitCode.File, Path.Combine(model, "unet"), "safetensors");
    }

    [Test]
    public void Generate_TruncatedWeights_NamesTheFile()
    {
        string file = Path.Combine(_folder.CopyDemoModel(), "vae", "diffusion_pytorch_model.safetensors");
        using (FileStream stream = File.OpenWrite(file))
        {
            stream.SetLength(stream.Length - 100);
        }
        Generate("--model", _folder["model"]).AssertError(ExitCode.File, file);
    }

    [Test]
    public void Generate_WrongShapedWeights_NamesTensorAndShapes()
    {
        string file = Path.Combine(_folder.CopyDemoModel(), "unet", "diffusion_pytorch_model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        int length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        string header = Encoding.UTF8.GetString(bytes, 8, length);
        int shape = header.IndexOf("[48,4,3,3]", header.IndexOf("\"conv_in.weight\"", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.That(shape, Is.Positive, "the header is written without blanks");
        Encoding.UTF8.GetBytes("[4,48,3,3]").CopyTo(bytes, 8 + shape);
        File.WriteAllBytes(file, bytes);
        Generate("--model", _folder["model"]).AssertError(ExitCode.File, file, "conv_in.weight", "[4, 48, 3, 3]", "[48, 4, 3, 3]");
    }

    [Test]
    public void Generate_LatentsOfAnotherSize_SaysWhatFits()
    {
        string latents = _folder["l.safetensors"];
        CliRunner.Run("generate", "a", "--model", CliRunner.DemoModel, "--size", "32", "--steps", "1", "--save-latents", latents, "-o", _folder["small.png"]).AssertOk();
        Generate("--model", CliRunner.DemoModel, "--size", "64", "--latents", latents).AssertError(ExitCode.Usage, "latents", "[1,4,8,8]");
        Generate("--model", CliRunner.DemoModel, "--size", "32", "--count", "2", "--latents", latents).AssertError(ExitCode.Usage, "latents", "[2, 4, height/8, width/8]");
    }

    [Test]
    public void Generate_MissingLibrary_PointsToDoctor()
    {
        CliRun run = CliRunner.RunProcess(new Dictionary<string, string> { ["SDN_LIBRARY"] = "/nowhere/libsdn.so" }, ["generate", "a ring", "-o", _folder["out.png"]]);
        run.AssertError(ExitCode.Failure, "/nowhere/libsdn.so", "doctor");
    }

    [Test]
    public void Run_DebugVariable_AddsTheStackTrace()
    {
        CliRun run = CliRunner.RunProcess(new Dictionary<string, string> { ["SDN_DEBUG"] = "1" }, ["inspect", "nowhere"]);
        Assert.That(run.ExitCode, Is.EqualTo(ExitCode.File));
        Assert.That(run.Error, Does.StartWith("error: ").And.Contain("   at "));
    }
}
