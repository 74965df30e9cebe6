using System.Text.Json;
using StableDiffusion.Cli;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>doctor</c>, with everything in place and with nothing.</summary>
public class DoctorCommandTests
{
    [Test]
    public void Doctor_WorkingMachine_SaysAllWell()
    {
        CliRun run = CliRunner.Run("doctor");
        run.AssertOk();
        Assert.That(run.Out, Does.Contain("cpu:portable").And.Contain("available").And.Contain("CUDA").And.Contain("free").And.Contain("dtype auto").And.Contain("--precision fast").And.Contain("drawn in").And.Contain("All well"));
    }

    [Test]
    public void Doctor_Json_IsOneObject()
    {
        JsonElement diagnosis = CliRunner.Run("doctor", "--json").JsonLines.Single();
        Assert.That(diagnosis.GetProperty("ok").GetBoolean());
        Assert.That(diagnosis.GetProperty("problems").GetArrayLength(), Is.Zero);
        Assert.That(diagnosis.GetProperty("facts").GetProperty("Native library").GetProperty("path").GetString(), Does.Contain("sdn"));
    }

    [Test]
    public void Doctor_MissingLibrary_DoesNotCrashAndSaysWhatToDo()
    {
        CliRun run = CliRunner.RunProcess(new Dictionary<string, string> { ["SDN_LIBRARY"] = "/nowhere/libsdn.so" }, "doctor");
        Assert.That(run.ExitCode, Is.EqualTo(ExitCode.Failure));
        Assert.That(run.Error, Is.Empty);
        Assert.That(run.Out, Does.Contain("/nowhere/libsdn.so").And.Contain("No picture can be drawn").And.Contain("Demo model"));
    }

    [Test]
    public void Doctor_UnknownInstructionSet_IsAProblemThatListsThem()
    {
        CliRun run = CliRunner.RunProcess(new Dictionary<string, string> { ["SDN_CPU"] = "z80" }, "doctor");
        Assert.That(run.ExitCode, Is.EqualTo(ExitCode.Failure));
        Assert.That(run.Out, Does.Contain("z80").And.Contain("portable").And.Contain("No picture can be drawn"));
    }
}
