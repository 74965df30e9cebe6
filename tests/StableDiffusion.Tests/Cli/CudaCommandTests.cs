using StableDiffusion.Cli;
using StableDiffusion.Cli.Bench;
using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Cli;

/// <summary>The command line on the emulated CUDA device: drawing, faults, device time.</summary>
[TestFixtureSource(nameof(Emulated))]
public sealed class CudaCommandTests(string deviceName)
{
    private static IEnumerable<TestFixtureData> Emulated => [TestDevices.Fixture(TestDevices.Emulated)];

    private static string Model => Fixtures.PathOf("models", "sd1");

    [Test]
    public void Generate_DTypeAuto_SaysWhatItTook()
    {
        using var folder = new TemporaryFolder();
        CliRun run = Generate(folder, [], "--dtype", "auto", "--json");
        run.AssertOk();
        Assert.That((run.JsonLines[0].GetProperty("dtype").GetString(), run.JsonLines[0].GetProperty("vae_dtype").GetString()), Is.EqualTo(("fp16", "bf16")));
        Assert.That(File.Exists(folder["x.png"]));
    }

    [Test]
    public void Generate_FaultInTheUnet_NamesPhaseAndWhatToDo()
    {
        using var folder = new TemporaryFolder();
        CliRun run = Generate(folder, new() { ["SDN_EMULATION_FAULT"] = "linear_combination" }, "--dtype", "fp16", "-q");
        run.AssertError(ExitCode.Failure, "illegal memory access", "denoising, step 1", "SDN_CUDA_SYNC=1");
        Assert.That(Directory.GetFiles(folder.Path), Is.Empty);
    }

    [Test]
    public void Generate_FaultWithWaits_NamesTheOp()
    {
        using var folder = new TemporaryFolder();
        CliRun run = Generate(folder, new() { ["SDN_EMULATION_FAULT"] = "group_norm", ["SDN_CUDA_SYNC"] = "1" }, "--dtype", "fp16", "-q");
        run.AssertError(ExitCode.Failure, "illegal memory access", "group_norm with out [", "denoising, step 1");
        Assert.That(run.Error, Does.Not.Contain("run again"));
    }

    [Test]
    public void TimeOnDevice_CapturedPhase_HasGraphAndEagerTimeAndLayers()
    {
        using var device = Device.Open(deviceName);
        using var exec = Exec.Create(device, 1 << 16);
        var phase = new Doubling();
        phase.Prepare(exec);
        var settings = new BenchSettings(StableDiffusion.Models.Architecture.StableDiffusion15, 8, 8, 1, DType.Float32, DType.Float32, DType.Float32, ["unet_step"], Repeat: 2, Layers: true);
        PhaseResult result = BenchRun.TimeOnDevice(phase, exec, settings);
        Assert.That((result.Seconds >= 0, result.EagerSeconds >= 0), Is.EqualTo((true, true)));
        Assert.That(result.Layers!.Select(layer => (layer.Path, layer.Calls)), Is.EquivalentTo(new[] { ("unet_step", 1), ("unet_step.inner", 2) }));
        phase.Release();
        Assert.That(phase.Runs, Is.EqualTo(5), "a first run, two timed ones, one for the layers, one captured");
    }

    private static CliRun Generate(TemporaryFolder folder, Dictionary<string, string> environment, params string[] more) => CliRunner.RunProcess(
        environment, ["generate", "a cat", "-m", Model, "-s", "1", "--size", "32", "-g", "1", "--scheduler", "DDIM", "-d", TestDevices.Emulated, "-o", folder["x.png"], .. more]);

    /// <summary>A phase of two ops in a layer.</summary>
    private sealed class Doubling() : BenchPhase(UnetStep)
    {
        private Tensor _x;

        internal int Runs { get; private set; }

        internal override void Prepare(Exec exec) => _x = exec.Upload<float>(new float[64], DType.Float32, 64);

        internal override void Run(Exec exec)
        {
            Runs++;
            exec.Trace?.Enter("", exec);
            for (int i = 0; i < 2; i++)
            {
                exec.Trace?.Enter("inner", exec);
                exec.LinearCombination(_x, [_x], [2]);
                exec.Trace?.Leave("inner", exec);
            }
            exec.Trace?.Leave("", exec);
        }

        internal override void Release() => _x.Dispose();
    }
}
