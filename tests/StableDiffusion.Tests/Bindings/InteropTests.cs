using System.Reflection;
using System.Runtime.InteropServices;
using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Bindings;

/// <summary>The sample of docs/interop.md, and what it relies on.</summary>
public partial class InteropTests
{
    const string Driver = "cuda";

    static InteropTests() => NativeLibrary.SetDllImportResolver(typeof(InteropTests).Assembly, static (name, _, _) =>
        name == Driver ? NativeLibrary.Load(OperatingSystem.IsWindows() ? "nvcuda" : "libcuda.so.1") : 0);

    [TestCaseSource(nameof(Gpu))]
    public void DriverCall_OnOurMemoryStreamAndContext_IsInOrder(string name)
    {
        using var device = Device.Open(name);
        using var exec = Exec.Create(device, 1 << 20);
        Tensor x = exec.Upload<float>([1, 2, 3, 4], DType.Float32, 4);

        // Your work, on our memory and in our order: here the driver fills the second half with ones.
        Require(cuCtxPushCurrent(device.NativeContext));
        Require(cuMemsetD32Async(x.Slice(0, 2, 2).Data, BitConverter.SingleToUInt32Bits(1f), 2, exec.NativeStream));
        Require(cuCtxPopCurrent(out _));

        exec.LinearCombination(x, [x], [10]);
        var values = new float[4];
        exec.Read<float>(x, values);
        Assert.That(values, Is.EqualTo(new[] { 10f, 20, 10, 10 }));
    }

    [Test]
    public void Handles_WhereThereIsNoGpu_AreNone([Values("cpu", TestDevices.Emulated)] string name)
    {
        Assume.That(name == "cpu" || TestDevices.Available.Contains(name), "this build has no emulated device");
        using var device = Device.Open(name);
        using var exec = Exec.Create(device, 256);
        Tensor x = exec.Alloc(DType.Float32, 4);
        Assert.That((device.NativeContext, exec.NativeStream, x.Data != 0, x.Slice(0, 1, 1).Data - x.Data), Is.EqualTo(((nint)0, (nint)0, true, (nint)4)));
    }

    static IEnumerable<TestCaseData> Gpu()
    {
        var data = new TestCaseData(TestDevices.Gpu);
        yield return TestDevices.Available.Contains(TestDevices.Gpu) ? data : data.Ignore("this machine has no CUDA device");
    }

    static void Require(int result) => Assert.That(result, Is.Zero, "CUresult");

    [LibraryImport(Driver)] private static partial int cuCtxPushCurrent(nint context);

    [LibraryImport(Driver)] private static partial int cuCtxPopCurrent(out nint context);

    [LibraryImport(Driver)] private static partial int cuMemsetD32Async(nint pointer, uint value, nuint count, nint stream);
}
