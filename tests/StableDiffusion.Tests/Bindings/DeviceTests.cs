using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Bindings;

public class DeviceTests
{
    [TestCaseSource(typeof(TestDevices), nameof(TestDevices.Available))]
    public void Open_AvailableName_TellsInstructionSetAndMemory(string name)
    {
        using var device = Device.Open(name, threads: 1);
        DeviceInfo info = device.Info;
        Assert.Multiple(() =>
        {
            Assert.That(device.Spec, Is.EqualTo(name));
            Assert.That(info.InstructionSet, device.Kind == DeviceKind.Cpu ? Is.EqualTo(name.Split(':')[^1]) : Does.Match(@"^sm_\d+$"));
            Assert.That((info.Emulated, info.Lost), Is.EqualTo((name == TestDevices.Emulated, false)));
            Assert.That((info.Multiprocessors > 0, info.ThreadsPerMultiprocessor > 0), Is.EqualTo((device.Kind == DeviceKind.Cuda, device.Kind == DeviceKind.Cuda)));
            Assert.That(info.Name, Is.Not.Empty);
            Assert.That(device.Threads, Is.EqualTo(1));
            Assert.That(info.FreeBytes, Is.InRange(1, info.TotalBytes));
        });
    }

    // What the build says and the system: on others than Linux the former alone.
    private static bool MultipliesFloat16 => NativeLibraryLocator.BuildInfo.Contains("float16 products", StringComparison.Ordinal) &&
        (!OperatingSystem.IsLinux() || File.ReadLines("/proc/cpuinfo").Any(line => line.StartsWith("flags", StringComparison.Ordinal) && line.Split(' ').Contains("avx512_fp16")));

    [Test]
    public void ProductDType_OfDevices_DecidesTheDTypeAuto()
    {
        foreach (string name in TestDevices.Available.Where(name => name.StartsWith("cpu", StringComparison.Ordinal)).Append("cpu"))
        {
            using Device reference = Device.Open(name, 1), fast = Device.Open(name, 1, Precision.Fast);
            Assert.That(reference.Info.ProductDType, Is.EqualTo(DType.Float32), $"{name}, reference precision");
            DType product = fast.Info.ProductDType;
            Assert.That(product, fast.Info.InstructionSet switch
            {
                "avx512bf16" => Is.EqualTo(DType.BFloat16),
                "avx512" => Is.EqualTo(MultipliesFloat16 ? DType.Float16 : DType.Float32),
                _ => Is.EqualTo(DType.Float32),
            }, $"{name}, fast precision");
            Assert.That(fast.Info.ProductDTypeFor(DType.Float32), Is.EqualTo(DType.Float32));
            Assert.That(fast.Info.ProductDTypeFor(DType.BFloat16), Is.EqualTo(product));
            Assert.That(fast.Info.ProductDTypeFor(DType.Float16), Is.EqualTo(product == DType.Float16 ? DType.Float16 : DType.Float32));
            Assert.That(new LoadOptions().DTypeFor(reference), Is.EqualTo(DType.Float32), $"{name}, reference precision");
            Assert.That(new LoadOptions().DTypeFor(fast), Is.EqualTo(product), $"{name}, fast precision");
            Assert.That(new LoadOptions { WeightDType = DType.Float16 }.DTypeFor(fast), Is.EqualTo(DType.Float16), "given");
        }
    }

    [Test]
    public void Open_NoThreadsGiven_TakesOnePerAvailableCore()
    {
        using var device = Device.Open("cpu");
        Assert.That(device.Threads, Is.InRange(1, Environment.ProcessorCount));
    }

    [TestCase("tpu", "unknown device \"tpu\"")]
    [TestCase("cpu:sse9", "sse9")]
    [TestCase("CPU", "unknown device")]
    public void Open_UnknownName_SaysWhatThereIs(string name, string expected)
    {
        DeviceNotFoundException? e = Assert.Throws<DeviceNotFoundException>(() => Device.Open(name));
        Assert.That(e!.Message, Does.Contain(expected).And.Contain("portable").And.Not.Contain("\n"));
    }

    [TestCase("")]
    [TestCase(" ")]
    [TestCase(null)]
    public void Open_EmptyName_IsAnArgumentError(string? name) => Assert.That(() => Device.Open(name!), Throws.InstanceOf<ArgumentException>());

    [TestCase(-1)]
    [TestCase(100000)]
    public void Open_ImpossibleThreads_IsAnArgumentError(int threads) =>
        Assert.That(() => Device.Open("cpu", threads), Throws.InstanceOf<ArgumentException>().With.Message.Contains("threads"));

    [TestCase("cuda")]
    [TestCase("cuda:7")]
    public void Open_CudaWhereThereIsNone_SaysWhy(string name)
    {
        (int count, string? reason) = Device.Count(DeviceKind.Cuda);
        Assume.That(count, Is.Zero, "this machine has a CUDA device");
        Assert.That(reason, Is.Not.Empty);
        Assert.That(() => Device.Open(name), Throws.TypeOf<DeviceNotFoundException>().With.Message.Contains(name).And.Message.Contains("cpu"));
    }

    [Test]
    public void Count_Cpu_IsOneWithoutReason() => Assert.That(Device.Count(DeviceKind.Cpu), Is.EqualTo((1, (string?)null)));

    [Test]
    public void Auto_IsSharedSurvivesDisposalAndSaysWhy()
    {
        Device.Auto.Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(Device.Auto.Reason, Is.Not.Empty);
            Assert.That(Device.Auto.Info.TotalBytes, Is.Positive);
        });
    }

    [Test]
    public void Open_Auto_IsADeviceOfItsOwn()
    {
        var device = Device.Open("auto", threads: 1);
        device.Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(device.Reason, Is.EqualTo(Device.Auto.Reason));
            Assert.That(() => device.Info, Throws.TypeOf<ObjectDisposedException>());
        });
    }

    [Test]
    public void MeasurePeakGflops_ShortRun_IsPositive()
    {
        using var device = Device.Open("cpu", threads: 1);
        Assert.That(device.MeasurePeakGflops(0.01), Is.Positive);
        Assert.That(() => device.MeasurePeakGflops(double.NaN), Throws.ArgumentException);
    }

    [Test]
    public void Open_EnvironmentNamesInstructionSet_PlainCpuTakesIt() =>
        Assert.That(ChildProcess.OpenDevice("cpu", ("SDN_CPU", "portable")), Is.EqualTo("portable"));

    [Test]
    public void Open_EnvironmentNamesUnknownInstructionSet_SaysSo() => Assert.That(
        ChildProcess.OpenDevice("cpu", ("SDN_CPU", "mmx")),
        Does.StartWith(nameof(DeviceNotFoundException)).And.Contain("SDN_CPU").And.Contain("mmx").And.Contain("portable"));

    [Test]
    public void Open_EnvironmentNamesUnknownInstructionSet_ANamedOneStillOpens() =>
        Assert.That(ChildProcess.OpenDevice("cpu:portable", ("SDN_CPU", "mmx")), Is.EqualTo("portable"));

    [Test]
    public void Open_LibraryVariableNamesMissingFile_SaysWhereItLooked() => Assert.That(
        ChildProcess.OpenDevice("cpu", ("SDN_LIBRARY", "/no/such/libsdn.so")),
        Does.StartWith(nameof(DllNotFoundException)).And.Contain("/no/such/libsdn.so (not there)").And.Contain("SDN_LIBRARY"));
}
