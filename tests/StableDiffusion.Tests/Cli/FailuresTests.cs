using StableDiffusion.Cli;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Cli;

/// <summary>Every kind of exception has its exit code and one clean line.</summary>
public class FailuresTests
{
    static readonly object[] Cases =
    [
        new object[] { new CliException(ExitCode.Memory, "no room"), ExitCode.Memory, "no room" },
        new object[] { new OperationCanceledException(), ExitCode.Cancelled, "cancelled" },
        new object[] { new DeviceNotFoundException("sdn_device_open: no \"cuda\""), ExitCode.Device, "no \"cuda\"; 'doctor' lists the devices of this machine" },
        new object[] { new OutOfDeviceMemoryException("sdn_exec_create: needs 5 bytes"), ExitCode.Memory, "needs 5 bytes" },
        new object[] { new InvalidWeightsException("'x' is cut"), ExitCode.File, "'x' is cut" },
        new object[] { new FileNotFoundException("no x"), ExitCode.File, "no x" },
        new object[] { new UnauthorizedAccessException("not yours"), ExitCode.File, "not yours" },
        new object[] { new InvalidDataException("not JSON"), ExitCode.File, "not JSON" },
        new object[] { new ArgumentException("width: 3 is odd", "request"), ExitCode.Usage, "width: 3 is odd" },
        new object[] { new NotSupportedException("no such class"), ExitCode.Failure, "no such class" },
        new object[] { new NonFiniteException("latents are not finite"), ExitCode.Failure, "latents are not finite" },
        new object[] { new TypeInitializationException("T", new DllNotFoundException("no libsdn.so.")), ExitCode.Failure, "no libsdn.so. 'doctor' tells more" },
        new object[] { new AggregateException(new InvalidWeightsException("'x' is cut")), ExitCode.File, "'x' is cut" },
        new object[] { new InvalidOperationException("two\nlines"), ExitCode.Failure, "two lines (InvalidOperationException; set SDN_DEBUG=1 to see where)" },
    ];

    [TestCaseSource(nameof(Cases))]
    public void Describe_AnyException_HasItsCodeAndOneLine(Exception failure, int code, string text) =>
        Assert.That(Failures.Describe(failure), Is.EqualTo((code, text)));
}
