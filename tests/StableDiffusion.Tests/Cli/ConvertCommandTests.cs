using System.Text.Json;
using StableDiffusion.Cli;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>convert</c>, and <c>inspect</c> and <c>generate</c> of what it writes.</summary>
public sealed class ConvertCommandTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void Make() => _folder = new TemporaryFolder();

    [TearDown]
    public void Delete() => _folder.Dispose();

    [Test]
    public void Convert_DemoModelToOneFile_GeneratesTheSamePicture()
    {
        string file = _folder["shapes.safetensors"];
        CliRunner.Run("convert", CliRunner.DemoModel, file).AssertOk();
        string[] drawing = ["generate", "a red circle on a blue background", "--seed", "1", "--steps", "2", "--quiet", "--save-latents"];
        CliRunner.Run([.. drawing, _folder["a.safetensors"], "-m", CliRunner.DemoModel, "-o", _folder["a.png"]]).AssertOk();
        CliRunner.Run([.. drawing, _folder["b.safetensors"], "-m", file, "-o", _folder["b.png"]]).AssertOk();

        Assert.That(File.ReadAllBytes(_folder["b.safetensors"]), Is.EqualTo(File.ReadAllBytes(_folder["a.safetensors"])));
    }

    [Test]
    public void Inspect_SingleFile_ShowsFamilyPredictionAndComponents()
    {
        string file = _folder["shapes.safetensors"];
        CliRunner.Run("convert", CliRunner.DemoModel, file, "--dtype", "bf16").AssertOk();
        CliRun run = CliRunner.Run("inspect", file);
        run.AssertOk();
        JsonElement json = CliRunner.Run("inspect", file, "--json").JsonLines.Single();

        Assert.Multiple(() =>
        {
            Assert.That(run.Out, Does.Contain("Stable Diffusion 1.x").And.Contain("text to image").And.Contain("epsilon").And.Contain("text_encoder").And.Contain("BF16"));
            Assert.That(json.GetProperty("kind").GetString(), Is.EqualTo("checkpoint"));
            Assert.That(json.GetProperty("facts").GetProperty("family").GetString(), Is.EqualTo("Stable Diffusion 1.x"));
            Assert.That(json.GetProperty("components").GetArrayLength(), Is.EqualTo(3));
        });
    }

    [Test]
    public void Inspect_OtherFamily_SaysWhatItIs()
    {
        File.WriteAllBytes(_folder["flux.safetensors"], StableDiffusion.Tests.Weights.SafetensorsBytes.Floats(("double_blocks.0.img_attn.qkv.weight", [1], [0])));

        Assert.That(CliRunner.Run("inspect", _folder["flux.safetensors"]).Out, Does.Contain("a Flux checkpoint").And.Contain("double_blocks.0"));
        CliRunner.Run("generate", "x", "-m", _folder["flux.safetensors"]).AssertError(ExitCode.Failure, "flux.safetensors", "a Flux checkpoint", "SDXL");
    }

    [Test]
    public void Convert_WeightsFile_KeepsItsNames()
    {
        string unet = Path.Combine(CliRunner.DemoModel, "unet", "diffusion_pytorch_model.safetensors");
        CliRunner.Run("convert", unet, _folder["unet.safetensors"], "--dtype", "fp32").AssertOk();
        using SafetensorsFile before = SafetensorsFile.Open(unet), after = SafetensorsFile.Open(_folder["unet.safetensors"]);

        Assert.That(after.Names, Is.EqualTo(before.Names));
        Assert.That(after.Names.Select(name => after.Find(name)!.DType), Is.All.EqualTo(WeightDType.Float32));
    }

    [Test]
    public void Convert_DestinationThere_NeedsForce()
    {
        string file = _folder["shapes.safetensors"];
        File.WriteAllText(file, "mine");
        CliRunner.Run("convert", CliRunner.DemoModel, file).AssertError(ExitCode.File, "shapes.safetensors", "--force");
        Assert.That(File.ReadAllText(file), Is.EqualTo("mine"));
        CliRunner.Run("convert", CliRunner.DemoModel, file, "--force").AssertOk();
    }

    [Test]
    public void Convert_LayoutThatDoesNotFitTheName_SaysWhatWould()
    {
        CliRunner.Run("convert", CliRunner.DemoModel, _folder["a.safetensors"], "--to", "diffusers").AssertError(ExitCode.Usage, "a.safetensors", "without .safetensors");
        CliRunner.Run("convert", CliRunner.DemoModel, _folder["a"], "--to", "ldm").AssertError(ExitCode.Usage, "ends in .safetensors");
        CliRunner.Run("convert", CliRunner.DemoModel, _folder["a"], "--to", "onnx").AssertError(ExitCode.Usage, "onnx", "diffusers, ldm and same");
    }

    [Test]
    public void Convert_NoSpaceLeft_SaysSo()
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Ignore("/dev/full is a device of Linux.");
        }
        // The link makes the name fit; what is written goes to a device without space.
        File.CreateSymbolicLink(_folder["full.safetensors"], "/dev/full");
        CliRunner.Run("convert", CliRunner.DemoModel, _folder["full.safetensors"], "--force").AssertError(ExitCode.File, "full.safetensors", "no space left");
    }
}
