using System.Runtime.CompilerServices;
using StableDiffusion.Native;

namespace StableDiffusion.Tests.Bindings;

public class HandleTests
{
    [Test]
    public void Dispose_DeviceFirst_ChildrenStayUsable()
    {
        var device = Device.Open("cpu", threads: 1);
        using var exec = Exec.Create(device, 4096);
        using Weight weight = HostValues.Weight(device, WeightKind.Matrix, HostValues.View([1, 2], 3, 4));
        device.Dispose();
        Tensor y = exec.Linear(exec.Floats([1, 2], 10, 100), weight);
        Assert.That(exec.Values(y), Is.EqualTo(new[] { 430f }));
    }

    [Test]
    public void Dispose_Twice_IsFineAndLaterUseIsAnError()
    {
        using var device = Device.Open("cpu", threads: 1);
        var exec = Exec.Create(device, 64);
        exec.Dispose();
        exec.Dispose();
        Assert.That(() => exec.Stats, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void LiveHandles_EveryKind_CountsUpAndDown()
    {
        long before = NativeLibraryLocator.LiveHandles;
        using (var device = Device.Open("cpu", threads: 1))
        using (Exec.Measure(device))
        using (new DeviceTensor(device, DType.Float32, 4))
        using (HostValues.Weight(device, WeightKind.Norm, HostValues.View([1], 1), 0))
        {
            Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(before + 4));
        }
        Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(before));
    }

    [Test]
    public void LeakedHandles_ObjectsNeverDisposed_AreCounted()
    {
        LeakCheck.CollectGarbage();
        long before = NativeLibraryLocator.LeakedHandles;
        Leak();
        LeakCheck.CollectGarbage();
        long leaked = NativeLibraryLocator.LeakedHandles - before;
        LeakCheck.Deliberate += leaked;
        Assert.That(leaked, Is.EqualTo(2));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void Leak() => Exec.Measure(Device.Open("cpu", threads: 1)).Reset();
}
