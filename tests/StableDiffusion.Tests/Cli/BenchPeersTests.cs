using System.Text.Json;
using StableDiffusion.Cli;
using StableDiffusion.Cli.Bench.Peers;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>bench --compare</c>: what is not there is a row that says so, and what is there is asked in its own words. Programs of a few lines stand in for the peers.</summary>
public class BenchPeersTests
{
    private static readonly string[] Bench = ["bench", "--phase", "text_encoder", "--phase", "vae_decode", "--size", "64", "--threads", "1", "--device", "cpu", "--compare"];

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Bench_CompareWithNothingThere_SaysHowToAddIt()
    {
        CliRun run = CliRunner.Run([.. Bench, "--python", "/nowhere/python", "--sd-cpp", "/nowhere/sd"]);
        run.AssertOk();
        Assert.That(run.Out, Does.Match("(?m)^StableDiffusion.Native, reference +fp32 +[0-9.]+ +[0-9.]+"));
        Assert.That(run.Out, Does.Match("(?m)^PyTorch .*not found: there is no '/nowhere/python'.*--python PATH").And.Match("(?m)^stable-diffusion.cpp .*not found: '/nowhere/sd'"));
    }

    [TestCase("--sampling-method", "", Description = "versions that load everything first")]
    [TestCase("--sampling-method --eager-load", " --eager-load", Description = "versions that would load in the first phase that needs it")]
    public void Bench_CompareWithPeers_TellsTheirTimes(string help, string lastArguments)
    {
        string python = Program("python", """
            request=$(cat)
            case "$request" in
              *probe*) echo '{"torch":"2.6.0","diffusers":null}' ;;
              *bf16*) echo 'RuntimeError: no bfloat16 here' >&2; exit 1 ;;
              *) echo '{"phase":"vae_decode","seconds":12.5}' ;;
            esac
            """);
        string cpp = Program("sd-cli", $"""
            case "$*" in
              --help) echo "{help}" ;;
              *"-m "*shapes*"-t 1"*".png{lastArguments}") echo "[INFO ] get_learned_condition completed, taking 250 ms"; echo "[INFO ] decode_first_stage completed, taking 70.90s" >&2 ;;
            esac
            """);
        CliRun run = CliRunner.Run([.. Bench, "--json", "--python", python, "--sd-cpp", cpp, "--model", CliRunner.DemoModel]);
        run.AssertOk();
        JsonElement[] peers = [.. run.JsonLines.Single().GetProperty("peers").EnumerateArray()];
        Assert.That(peers.Select(peer => (peer.GetProperty("program").GetString(), peer.GetProperty("dtype").GetString())), Is.EqualTo(new (string?, string?)[]
        {
            ("PyTorch 2.6.0", "fp32"), ("PyTorch 2.6.0", "bf16"), ("diffusers", null), ("stable-diffusion.cpp", "fp32"), ("stable-diffusion.cpp", "bf16"),
        }));
        Assert.That(peers[0].GetProperty("seconds").GetProperty("vae_decode").GetDouble(), Is.EqualTo(12.5));
        Assert.That(peers[1].GetProperty("note").GetString(), Is.EqualTo("failed: RuntimeError: no bfloat16 here"));
        Assert.That(peers[2].GetProperty("note").GetString(), Does.Contain("pip install diffusers"));
        Assert.That(peers[3].GetProperty("seconds").GetProperty("text_encoder").GetDouble(), Is.EqualTo(0.25));
        Assert.That(peers[4].GetProperty("seconds").GetProperty("vae_decode").GetDouble(), Is.EqualTo(70.9));
    }

    [Test]
    public void Bench_CompareWithoutCheckpoint_SkipsStableDiffusionCpp()
    {
        CliRun run = CliRunner.Run([.. Bench, "--python", "/nowhere/python", "--sd-cpp", Program("sd", "echo --sampling-method")]);
        run.AssertOk();
        Assert.That(run.Out, Does.Contain("skipped: it needs a checkpoint"));
    }

    // Lines as of its releases, with and without a place: two pictures, of two steps each.
    [Test]
    public void Times_OfALog_AddUpByPhase()
    {
        Dictionary<string, double> times = CppPeer.Times("""
            [INFO ] stable-diffusion.cpp:1380 - get_learned_condition completed, taking 86 ms
              |==================================================| 2/2 - 67.33s/it
            [INFO ] stable-diffusion.cpp:1466 - sampling completed, taking 134.70s
            [INFO ] sampling completed, taking 133.30s
            [INFO ] stable-diffusion.cpp:1474 - generating 2 latent images completed, taking 268.00s
            [INFO ]  stable-diffusion.cpp:5339 - decode_first_stage completed, taking 70.90s
            """);
        Assert.That(times["text_encoder"], Is.EqualTo(0.086).Within(1e-9));
        Assert.That(times["unet_step"], Is.EqualTo(134).Within(1e-9));
        Assert.That(times["vae_decode"], Is.EqualTo(70.9).Within(1e-9));
    }

    private string Program(string name, string script)
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore("the stand-in is a shell script");
        }
        string path = _folder[name];
        File.WriteAllText(path, "#!/bin/sh\n" + script.ReplaceLineEndings("\n") + "\n");
#pragma warning disable CA1416 // Windows was left above.
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
#pragma warning restore CA1416
        return path;
    }
}
