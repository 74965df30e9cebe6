using System.Text.Json;
using StableDiffusion.Cli;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>bench</c> on the cheapest phases of SD 1.5.</summary>
public class BenchCommandTests
{
    [Test]
    public void Bench_Json_IsOneObjectOfTheDocumentedShape()
    {
        CliRun run = CliRunner.Run("bench", "--arch", "sd15", "--phase", "text_encoder", "--threads", "2", "--json");
        run.AssertOk();
        Assert.That(run.Error, Is.Empty);
        JsonElement result = run.JsonLines.Single();
        Assert.That(result.EnumerateObject().Select(p => p.Name),
            Is.EqualTo(new[] { "arch", "size", "batch", "dtype", "vae_dtype", "precision", "threads", "device", "peak_gflops", "phases", "checkpoint_bytes", "weights_bytes", "work_bytes", "peak_bytes" }));
        Assert.That(result.GetProperty("arch").GetString(), Is.EqualTo("sd15"));
        Assert.That(result.GetProperty("size").GetInt32(), Is.EqualTo(512));
        Assert.That(result.GetProperty("batch").GetInt32(), Is.EqualTo(1));
        Assert.That(result.GetProperty("dtype").GetString(), Is.EqualTo("fp32"));
        Assert.That(result.GetProperty("threads").GetInt32(), Is.EqualTo(2));
        Assert.That(result.GetProperty("device").GetString(), Does.StartWith("cpu"));
        Assert.That(result.GetProperty("checkpoint_bytes").GetInt64(), Is.EqualTo(4L * 123_060_480), "CLIP ViT-L/14's text encoder has 123.06 M parameters");
        Assert.That(result.GetProperty("weights_bytes").GetInt64(), Is.GreaterThanOrEqualTo(4L * 123_060_480));
        Assert.That(result.GetProperty("peak_bytes").GetInt64(), Is.GreaterThan(result.GetProperty("weights_bytes").GetInt64()));
        JsonElement phase = result.GetProperty("phases").EnumerateArray().Single();
        Assert.That(phase.EnumerateObject().Select(p => p.Name), Is.EqualTo(new[] { "name", "seconds", "gflops", "peak_share" }));
        Assert.That(phase.GetProperty("name").GetString(), Is.EqualTo("text_encoder"));
        // 2 prompts x 12 layers; the op counts in the literature give 13.3 GFLOP per prompt with 1.6 % of it in attention.
        double flops = phase.GetProperty("gflops").GetDouble() * phase.GetProperty("seconds").GetDouble();
        Assert.That(flops, Is.EqualTo(26.6).Within(0.5));
    }

    [TestCase("cpu:portable", "fp32", "float32")]
    [TestCase("cpu:avx2", "fp32", "float32")]
    [TestCase("cpu:avx512", "fp32", "float32")]
    [TestCase("cpu:avx512", "fp16", "float16|float32")]
    [TestCase("cpu:avx512bf16", "fp32", "float32")]
    [TestCase("cpu:avx512bf16", "bf16", "pairs of bfloat16")]
    public void Bench_LayersOfFastPrecision_SayItAndHaveTheirShareOfThePeak(string device, string dtype, string peak)
    {
        Assume.That(TestDevices.Available.Contains(device), "this machine has no such instruction set");
        CliRun run = CliRunner.Run("bench", "--phase", "vae_decode", "--size", "64", "--dtype", dtype, "--precision", "fast", "--device", device, "--layers", "--top", "0");
        run.AssertOk();
        Assert.That(run.Out, Does.Contain("fast precision").And.Match($@"\(({peak})\)"));
        Assert.That(run.Out.Split('\n').Where(line => line.Contains(".conv")), Is.Not.Empty.And.All.Contain(" %"));
    }

    [Test]
    public void Bench_Layers_ListsThemByPathAndFiguresAddUp()
    {
        JsonElement result = CliRunner.Run("bench", "--phase", "vae_decode", "--size", "64x32", "--dtype", "bf16", "--layers", "--json").JsonLines.Single();
        Assert.That(result.GetProperty("size").GetString(), Is.EqualTo("64x32"));
        Assert.That(result.GetProperty("dtype").GetString(), Is.EqualTo("bf16"));
        JsonElement phase = result.GetProperty("phases").EnumerateArray().Single();
        JsonElement[] layers = [.. phase.GetProperty("layers").EnumerateArray()];
        Assert.That(layers.Select(l => l.GetProperty("path").GetString()), Does.Contain("vae_decode.decoder.up_blocks.3.resnets.0.conv1").And.Unique);
        double Sum(string name) => layers.Sum(l => l.GetProperty(name).GetDouble());
        Assert.That(layers.Select(l => l.GetProperty("seconds").GetDouble()), Is.Ordered.Descending);
        Assert.That(Sum("seconds"), Is.LessThanOrEqualTo(phase.GetProperty("seconds").GetDouble() * 1.001));
        double flops = layers.Sum(l => l.GetProperty("gflops").GetDouble() * l.GetProperty("seconds").GetDouble());
        Assert.That(flops, Is.EqualTo(phase.GetProperty("gflops").GetDouble() * phase.GetProperty("seconds").GetDouble()).Within(1).Percent);
    }

    [Test]
    public void Bench_Model_TimesItsLoadingAndItsPhases()
    {
        JsonElement result = CliRunner.Run("bench", "--model", CliRunner.DemoModel, "--phase", "load,text_encoder", "--repeat", "2", "--json").JsonLines.Single();
        Assert.That(result.GetProperty("arch").GetString(), Is.EqualTo("shapes"));
        Assert.That(result.GetProperty("size").GetInt32(), Is.EqualTo(128), "what the model's README says it was trained at");
        JsonElement[] phases = [.. result.GetProperty("phases").EnumerateArray()];
        Assert.That(phases.Select(p => p.GetProperty("name").GetString()), Is.EqualTo(new[] { "load", "text_encoder" }));
        Assert.That(phases[0].GetProperty("seconds").GetDouble(), Is.Positive);
        Assert.That(result.GetProperty("checkpoint_bytes").GetInt64(), Is.Positive);
        Assert.That(result.GetProperty("weights_bytes").GetInt64(), Is.Positive);
    }

    [Test]
    public void Bench_LoadAlone_SaysTheRate()
    {
        CliRun run = CliRunner.Run("bench", "--model", CliRunner.DemoModel, "--phase", "load");
        run.AssertOk();
        Assert.That(run.Out, Does.Contain("loading:").And.Contain("/s of packed weights"));
    }

    [Test]
    public void Bench_LoadWithoutModel_AsksForOne() => CliRunner.Run("bench", "--phase", "load").AssertError(ExitCode.Usage, "load", "--model");

    [Test]
    public void Bench_ModelAndArchitecture_AreOneTooMany() =>
        CliRunner.Run("bench", "--arch", "sd15", "--model", CliRunner.DemoModel).AssertError(ExitCode.Usage, "--arch", "--model");

    [TestCase(ExitCode.Usage, "--arch", "sd9", "sd15, sd21, sdxl")]
    [TestCase(ExitCode.Usage, "--phase", "vae", "vae_decode")]
    [TestCase(ExitCode.Usage, "--size", "100", "multiples of 8")]
    [TestCase(ExitCode.Usage, "--dtype", "q4", "bf16")]
    [TestCase(ExitCode.Usage, "--repeat", "0", "at least 1")]
    [TestCase(ExitCode.Device, "--device", "tpu", "doctor")]
    public void Bench_BadArgument_SaysWhatFits(int code, string option, string value, string hint) =>
        CliRunner.Run("bench", option, value).AssertError(code, value, hint);
}
