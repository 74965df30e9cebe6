using System.Text.Json;
using StableDiffusion.Cli;
using StableDiffusion.Imaging;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>inspect</c> over the demo model and over damaged copies of it.</summary>
public class InspectCommandTests
{
    static readonly string UnetFile = Path.Combine(CliRunner.DemoModel, "unet", "diffusion_pytorch_model.safetensors");

    [Test]
    public void Inspect_ModelFolder_ShowsComponentsAndFamily()
    {
        CliRun run = CliRunner.Run("inspect", CliRunner.DemoModel);
        run.AssertOk();
        foreach (string word in new[] { "CLIPTextModel", "UNet2DConditionModel", "AutoencoderKL", "DDIMScheduler", "128x128", "text to image", "F16", "3.37 M", "epsilon" })
        {
            Assert.That(run.Out, Does.Contain(word));
        }
    }

    [Test]
    public void Inspect_ModelFolderJson_AddsUpItsComponents()
    {
        JsonElement model = CliRunner.Run("inspect", CliRunner.DemoModel, "--json").JsonLines.Single();
        JsonElement[] components = [.. model.GetProperty("components").EnumerateArray()];
        long sum = components.Where(c => c.TryGetProperty("parameters", out _)).Sum(c => c.GetProperty("parameters").GetInt64());
        Assert.That(model.GetProperty("parameters").GetInt64(), Is.EqualTo(sum).And.EqualTo(4_773_000).Within(10_000), "the model card: 0.54 + 3.37 + 0.86 M");
        Assert.That(components.Select(c => c.GetProperty("name").GetString()), Is.EquivalentTo(new[] { "scheduler", "text_encoder", "tokenizer", "unet", "vae" }));
    }

    [Test]
    public void Inspect_Component_ShowsItsConfigAndParts()
    {
        CliRun run = CliRunner.Run("inspect", Path.Combine(CliRunner.DemoModel, "unet"));
        run.AssertOk();
        Assert.That(run.Out, Does.Contain("cross_attention_dim 128").And.Contain("down_blocks.0"));
    }

    [Test]
    public void Inspect_Safetensors_ListsPartsAndWithAllEveryTensor()
    {
        CliRun parts = CliRunner.Run("inspect", UnetFile), all = CliRunner.Run("inspect", UnetFile, "--all");
        Assert.That(parts.Out, Does.Contain("324 tensors").And.Contain("metadata format: pt").And.Not.Contain("conv_in.weight"));
        Assert.That(all.Out, Does.Contain("conv_in.weight").And.Contain("[48, 4, 3, 3]"));
        Assert.That(all.Out.Split('\n'), Has.Length.GreaterThan(324));
    }

    [Test]
    public void Inspect_SafetensorsJson_HasEveryTensor()
    {
        JsonElement file = CliRunner.Run("inspect", UnetFile, "--json").JsonLines.Single();
        JsonElement conv = file.GetProperty("tensors").EnumerateArray().Single(t => t.GetProperty("name").GetString() == "conv_in.weight");
        Assert.That(file.GetProperty("tensors").GetArrayLength(), Is.EqualTo(324));
        Assert.That(conv.GetProperty("shape").EnumerateArray().Select(s => s.GetInt32()), Is.EqualTo(new[] { 48, 4, 3, 3 }));
        Assert.That(conv.GetProperty("dtype").GetString(), Is.EqualTo("F16"));
    }

    [Test]
    public void Inspect_TruncatedWeights_IsAFileErrorThatNamesIt()
    {
        using var folder = new TemporaryFolder();
        string path = Path.Combine(folder.CopyDemoModel(), "unet", "diffusion_pytorch_model.safetensors");
        using (FileStream stream = File.OpenWrite(path))
        {
            stream.SetLength(stream.Length / 2);
        }
        CliRunner.Run("inspect", path).AssertError(ExitCode.File, path);
        CliRunner.Run("inspect", folder["model"]).AssertError(ExitCode.File, path);
    }

    [Test]
    public void Inspect_BrokenJson_IsAFileErrorThatNamesIt()
    {
        using var folder = new TemporaryFolder();
        string path = Path.Combine(folder.CopyDemoModel(), "vae", "config.json");
        File.WriteAllText(path, "{ \"_class_name\": ");
        CliRunner.Run("inspect", folder["model"]).AssertError(ExitCode.File, path, "JSON");
    }

    [Test]
    public void Inspect_NothingThere_IsAFileError() =>
        CliRunner.Run("inspect", "nowhere/at/all").AssertError(ExitCode.File, "nowhere/at/all", "no such file or folder");

    [Test]
    public void Inspect_FolderWithoutModel_SaysWhatIsMissing()
    {
        using var folder = new TemporaryFolder();
        CliRunner.Run("inspect", folder.Path).AssertError(ExitCode.File, "model_index.json");
    }

    [Test]
    public void Inspect_FileOfAnotherKind_SaysWhatWorks()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["notes.txt"], "hello");
        CliRunner.Run("inspect", folder["notes.txt"]).AssertError(ExitCode.File, "notes.txt", "PNG", ".safetensors");
    }

    [Test]
    public void Inspect_PngWithoutParameters_SaysSo()
    {
        using var folder = new TemporaryFolder();
        using var image = new RgbImage(2, 3, new byte[18]);
        image.Save(folder["plain.png"]);
        CliRun run = CliRunner.Run("inspect", folder["plain.png"]);
        run.AssertOk();
        Assert.That(run.Out, Does.Contain("2x3").And.Contain("does not say how it was made"));
    }

    [Test]
    public void Inspect_DamagedPng_IsAFileError()
    {
        using var folder = new TemporaryFolder();
        using var image = new RgbImage(2, 3, new byte[18]);
        File.WriteAllBytes(folder["cut.png"], image.Encode()[..30]);
        CliRunner.Run("inspect", folder["cut.png"]).AssertError(ExitCode.File, "cut.png");
    }
}
