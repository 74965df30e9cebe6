using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Bindings;

/// <summary>Events and graphs of a CUDA device.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Cuda))]
public class GraphTests(string deviceName)
{
    Device device = null!;
    Exec exec = null!;

    [SetUp]
    public void Open()
    {
        device = Device.Open(deviceName);
        exec = Exec.Create(device, 1 << 16);
    }

    [TearDown]
    public void Close()
    {
        exec?.Dispose();
        device?.Dispose();
    }

    [Test]
    public void Capture_LaunchedTwice_ComputesFromWhatTheMemoryHoldsThen()
    {
        Tensor x = exec.Floats([2], 1, 2), y = exec.Floats([2], 0, 0);
        using Graph graph = exec.Capture(() => exec.LinearCombination(y, [x, y], [10, 1]));
        Assert.That(exec.Values(y), Is.EqualTo(new[] { 0f, 0 }), "captured ops do not run");
        graph.Launch(exec);
        exec.Write<float>(x, [3, 4]);
        graph.Launch(exec);
        Assert.That(exec.Values(y), Is.EqualTo(new[] { 40f, 60 }));
    }

    [Test]
    public void Launch_OnAnotherExec_WorksInTheArenaOfTheOneThatCaptured()
    {
        Tensor x = exec.Floats([2], 1, 2);
        Tensor y = default;
        using Graph graph = exec.Capture(() => y = exec.Activate(x, Activation.Silu));
        using var other = Exec.Create(device, 256);
        graph.Launch(other);
        other.Synchronize();
        Assert.That(exec.Values(y)[1], Is.EqualTo(2 / (1 + MathF.Exp(-2))).Within(1e-6f));
    }

    [Test]
    public void Dispose_ExecFirst_GraphStaysLaunchable()
    {
        using var result = new DeviceTensor(device, DType.Float32, 1);
        var capturing = Exec.Create(device, 256);
        Tensor x = capturing.Floats([1], 7);
        using Graph graph = capturing.Capture(() => capturing.LinearCombination(result.Tensor, [x], [2]));
        capturing.Dispose();
        graph.Launch(exec);
        Assert.That(exec.Values(result.Tensor), Is.EqualTo(new[] { 14f }));
    }

    [Test]
    public void Capture_OpFails_EndsTheCaptureAndTheExecWorksOn()
    {
        Tensor x = exec.Floats([2], 1, 2);
        Assert.That(() => exec.Capture(() => exec.LinearCombination(x, [exec.Alloc(DType.Float32, 3)], [1])), Throws.ArgumentException.With.Message.Contains("sdn_linear_combination"));
        exec.LinearCombination(x, [x], [2]);
        Assert.That(exec.Values(x), Is.EqualTo(new[] { 2f, 4 }));
    }

    [Test]
    public void Capture_ReadInside_IsRefused()
    {
        Tensor x = exec.Floats([2], 1, 2);
        Assert.That(() => exec.Capture(() => exec.Values(x)), Throws.Exception.With.Message.Contains("captur"));
        Assert.That(exec.Values(x), Is.EqualTo(new[] { 1f, 2 }));
    }

    [Test]
    public void Event_RecordedBehindOps_IsReachedAndTellsTheirTime()
    {
        using DeviceEvent begin = new(device), end = new(device);
        Assert.That(begin.IsDone, "never recorded");
        Tensor x = exec.Floats([4096], new float[4096]);
        begin.Record(exec);
        exec.LinearCombination(x, [x], [2]);
        end.Record(exec);
        end.Synchronize();
        Assert.That((end.IsDone, end.ElapsedMilliseconds(begin) >= 0), Is.EqualTo((true, true)));
    }

    [Test]
    public void LastKernels_AfterAnOp_NameWhatRan()
    {
        Tensor x = exec.Floats([2], 1, 2);
        exec.LinearCombination(x, [x], [2]);
        Assert.That(exec.LastKernels, Does.Contain("linear_combination"));
    }

    [Test]
    public void LiveHandles_EventAndGraph_CountUpAndDown()
    {
        long before = NativeLibraryLocator.LiveHandles;
        Tensor x = exec.Floats([1], 1);
        using (new DeviceEvent(device))
        using (exec.Capture(() => exec.LinearCombination(x, [x], [2])))
        {
            Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(before + 2));
        }
        Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(before));
    }

    [Test]
    public void LinearCombination_OfThreeTypes_SumsInDouble()
    {
        Tensor x = exec.Floats([2], 1, 2), output = exec.Alloc(DType.Float32, 2);
        using Tensor half = exec.Contiguous(x, DType.Float16), brain = exec.Contiguous(x, DType.BFloat16);
        exec.LinearCombination(output, [x, half, brain], [100, 10, 1]);
        Assert.That(exec.Values(output), Is.EqualTo(new[] { 111f, 222 }));
    }

    [Test]
    public void Attention_Float16ScoresBeyondItsRange_StayFinite()
    {
        // q k^T = 512 * 512 * 64 = 2^24, far beyond float16's 65504: what upcast_attention is for.
        float[] large = [.. Enumerable.Repeat(512f, 64)], value = [.. Enumerable.Repeat(3f, 64)];
        using Tensor q = exec.Contiguous(exec.Floats([1, 1, 64], large), DType.Float16), v = exec.Contiguous(exec.Floats([1, 1, 64], value), DType.Float16);
        using Tensor attended = exec.Attention(q, q, v, heads: 1, scale: 1);
        Assert.That(exec.Values(attended), Is.EqualTo(value));
    }
}

/// <summary>Events and graphs on a processor.</summary>
public class CpuGraphTests
{
    [Test]
    public void Capture_OnTheProcessor_SaysWhereItWorks()
    {
        using var device = Device.Open("cpu", threads: 1);
        using var exec = Exec.Create(device, 256);
        Assert.That(exec.BeginCapture, Throws.TypeOf<NotSupportedException>().With.Message.Contains("no graphs"));
    }

    [Test]
    public void Event_OnTheProcessor_IsReachedAtOnce()
    {
        using var device = Device.Open("cpu", threads: 1);
        using var exec = Exec.Create(device, 256);
        using DeviceEvent begin = new(device), end = new(device);
        begin.Record(exec);
        end.Record(exec);
        Assert.That((end.IsDone, end.ElapsedMilliseconds(begin) >= 0), Is.EqualTo((true, true)));
        Assert.That((device.NativeContext, exec.NativeStream, exec.LastKernels), Is.EqualTo(((nint)0, (nint)0, "")));
        Assert.That((device.WorksBehindCalls, device.ActivationDType(DType.BFloat16)), Is.EqualTo((false, DType.Float32)));
    }

    [Test]
    public void PhiloxNormal_OfAGpu_ContinuesAtTheOffsetItReturns()
    {
        using var device = Device.Open("cpu", threads: 1);
        using var exec = Exec.Create(device, 1 << 14);
        Tensor first = exec.Alloc(DType.Float32, 1000), second = exec.Alloc(DType.Float32, 1000);
        ulong offset = exec.PhiloxNormal(first, 42, 0, 132, 2048);
        exec.PhiloxNormal(second, 42, offset, 132, 2048);
        var expected = new float[1000];
        var generator = new StableDiffusion.Random.TorchCudaGenerator(42, new StableDiffusion.Random.TorchCudaGpu(132, 2048));
        generator.Normal(expected);
        Tolerances.AssertAbsoluteError(exec.Values(first), expected, [1000], 1e-5, "first draw");
        generator.Normal(expected);
        Tolerances.AssertAbsoluteError(exec.Values(second), expected, [1000], 1e-5, "second draw");
        Assert.That(offset, Is.EqualTo(4));
    }
}
