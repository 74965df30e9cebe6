using StableDiffusion.Native;

namespace StableDiffusion.Tests.Bindings;

/// <summary>Native statuses as exceptions: the type by the status, the text always the library's own.</summary>
public class StatusTests
{
    [TestCase(nameof(Status.InvalidArgument), typeof(ArgumentException))]
    [TestCase(nameof(Status.Shape), typeof(ArgumentException))]
    [TestCase(nameof(Status.OutOfMemory), typeof(OutOfDeviceMemoryException))]
    [TestCase(nameof(Status.Unsupported), typeof(NotSupportedException))]
    [TestCase(nameof(Status.NoDevice), typeof(DeviceNotFoundException))]
    [TestCase(nameof(Status.Cancelled), typeof(OperationCanceledException))]
    [TestCase(nameof(Status.Device), typeof(DeviceFaultException))]
    [TestCase(nameof(Status.Internal), typeof(NativeException))]
    public void ThrowIfFailed_EveryStatus_HasItsException(string status, Type expected)
    {
        Assert.That(() => Device.Open("tpu"), Throws.TypeOf<DeviceNotFoundException>()); // leaves a text on this thread
        Assert.That(() => Enum.Parse<Status>(status).ThrowIfFailed(), Throws.TypeOf(expected).With.Message.Contains("tpu"));
    }

    [Test]
    public void ThrowIfFailed_Ok_IsSilent() => Assert.That(() => Status.Ok.ThrowIfFailed(), Throws.Nothing);

    [Test]
    public void ThrowIfFailed_Cancelled_CarriesTheToken()
    {
        using var source = new CancellationTokenSource();
        OperationCanceledException? e = Assert.Throws<OperationCanceledException>(() => Status.Cancelled.ThrowIfFailed(source.Token));
        Assert.That(e!.CancellationToken, Is.EqualTo(source.Token));
    }

    [Test]
    public void LastError_OfAnotherThread_IsNotSeen()
    {
        Assert.That(() => Device.Open("tpu"), Throws.TypeOf<DeviceNotFoundException>());
        string other = "";
        var thread = new Thread(() => other = Interop.LastError);
        thread.Start();
        thread.Join();
        Assert.That((Interop.LastError.Contains("tpu"), other.Contains("tpu")), Is.EqualTo((true, false)));
    }

    [Test]
    public void OutOfDeviceMemoryException_Plan_NamesNeededAndFreeMegabytes()
    {
        var e = new OutOfDeviceMemoryException("a 64x64 image", 3 << 20, 1 << 20, "Draw a smaller one.");
        Assert.That((e.NeededBytes, e.FreeBytes, e.Message), Is.EqualTo(
            (3L << 20, 1L << 20, "a 64x64 image needs 3 MB but only 1 MB are free. Draw a smaller one.")));
    }
}
