using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Bindings;

/// <summary>The arena and its two modes, transfers, cancellation.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.All))]
public class ExecTests(string deviceName)
{
    const int Size = 24;
    const long ArenaBytes = 1 << 20;

    Device device = null!;
    Weight matrix = null!;
    Weight norm = null!;

    [OneTimeSetUp]
    public void Open()
    {
        device = Device.Open(deviceName, threads: 2);
        matrix = HostValues.Weight(device, WeightKind.Matrix, HostValues.View([Size, Size], Ramp(Size * Size)), Ramp(Size));
        norm = HostValues.Weight(device, WeightKind.Norm, HostValues.View([Size], Ramp(Size)), Ramp(Size));
    }

    [OneTimeTearDown]
    public void Close()
    {
        matrix?.Dispose();
        norm?.Dispose();
        device?.Dispose();
    }

    [Test]
    public void Stats_OfMeasuringAndRunning_AreEqual()
    {
        using var measuring = Exec.Measure(device);
        float[] measured = Transform(measuring);
        using var running = Exec.Create(device, measuring.Stats.PeakBytes);
        float[] ran = Transform(running);
        Assert.Multiple(() =>
        {
            Assert.That(running.Stats, Is.EqualTo(measuring.Stats));
            Assert.That(running.Stats.LiveBytes, Is.Zero);
            Assert.That(running.Stats.Ops, Is.EqualTo(4));
            Assert.That(running.Stats.Flops, Is.GreaterThanOrEqualTo(2L * Size * Size * Size)); // the linear op alone
            Assert.That(measured, Is.All.Zero, "measuring writes nothing");
            Assert.That(ran, Is.Not.All.Zero);
        });
    }

    [Test]
    public void Create_OneBlockLessThanMeasured_RunsOutOfArena()
    {
        using var measuring = Exec.Measure(device);
        Transform(measuring);
        using var running = Exec.Create(device, measuring.Stats.PeakBytes - 64);
        Assert.That(() => Transform(running), Throws.TypeOf<OutOfDeviceMemoryException>().With.Message.Contains("arena"));
    }

    [Test]
    public void Reset_AfterFailure_MakesTheExecUsable()
    {
        using var exec = Exec.Create(device, ArenaBytes);
        Assert.That(() => exec.Alloc(DType.Float32, 1 << 20), Throws.TypeOf<OutOfDeviceMemoryException>());
        exec.Alloc(DType.Float32, 100);
        exec.Reset();
        Assert.That(exec.Stats, Is.EqualTo(new ExecStats()));
        Assert.That(Transform(exec), Is.Not.All.Zero);
    }

    [Test]
    public void Create_MoreThanTheMachineHas_NamesTheBytes() => Assert.That(
        () => Exec.Create(device, 1L << 60), Throws.TypeOf<OutOfDeviceMemoryException>().With.Message.Contains((1L << 60).ToString()));

    [Test]
    public void Alloc_AnyAmount_IsAlignedAndFreedOnce()
    {
        using var exec = Exec.Create(device, 1 << 12);
        Tensor first = exec.Alloc(DType.UInt8, 1), second = exec.Alloc(DType.UInt8, 65);
        Assert.That((first.Data % 64, second.Data % 64), Is.EqualTo(((nint)0, (nint)0)));
        first.Dispose();
        Assert.That(first.Dispose, Throws.ArgumentException);
    }

    [Test]
    public void Upload_EveryWidth_ReadsBackBitForBit()
    {
        using var exec = Exec.Create(device, 1 << 12);
        byte[] bytes = [0, 127, 255];
        Half[] halves = [(Half)1.5, Half.NaN, (Half)(-0.0)];
        double[] doubles = [Math.PI, double.NegativeInfinity, double.Epsilon];
        long[] longs = [long.MinValue, -1, long.MaxValue];
        Assert.Multiple(() =>
        {
            Assert.That(RoundTrip(exec, bytes, DType.UInt8), Is.EqualTo(bytes));
            Assert.That(RoundTrip(exec, halves, DType.Float16).Select(BitConverter.HalfToUInt16Bits), Is.EqualTo(halves.Select(BitConverter.HalfToUInt16Bits)));
            Assert.That(RoundTrip(exec, doubles, DType.Float64), Is.EqualTo(doubles));
            Assert.That(RoundTrip(exec, longs, DType.Int64), Is.EqualTo(longs));
        });
    }

    [Test]
    public void Transfer_OfAnotherSizeOrStrides_IsRefused()
    {
        using var exec = Exec.Create(device, 1 << 12);
        Tensor tensor = exec.Alloc(DType.Float32, 2, 3);
        Assert.Multiple(() =>
        {
            Assert.That(() => exec.Write<float>(tensor, new float[5]), Throws.ArgumentException.With.Message.Contains("Float32[2,3] has 24 bytes"));
            Assert.That(() => exec.Read(tensor.Permute(1, 0), new float[6].AsSpan()), Throws.ArgumentException.With.Message.Contains("dense: False"));
        });
    }

    [Test]
    public void DeviceTensor_WrittenByOneExec_IsReadByAnother()
    {
        using var tensor = new DeviceTensor(device, DType.Float32, 2, 2);
        using (var writer = Exec.Create(device, 0))
        {
            writer.Write<float>(tensor.Tensor, [1, 2, 3, 4]);
        }
        using var reader = Exec.Create(device, 64);
        Assert.That(reader.Values(tensor.Tensor), Is.EqualTo(new[] { 1f, 2, 3, 4 }));
    }

    [Test]
    public void OpCompleted_EachOp_IsToldInBothModes()
    {
        using var measuring = Exec.Measure(device);
        using var running = Exec.Create(device, ArenaBytes);
        foreach (Exec exec in new[] { measuring, running })
        {
            var seen = new List<long>();
            exec.OpCompleted = e => seen.Add(e.Stats.Ops);
            Transform(exec);
            Assert.That(seen, Is.EqualTo(new long[] { 1, 2, 3, 4 }));
        }
    }

    [Test]
    public void Cancellation_CancelledBefore_ThrowsUntilReset()
    {
        using var source = new CancellationTokenSource();
        source.Cancel();
        using var exec = Exec.Create(device, ArenaBytes);
        exec.Cancellation = source.Token;
        OperationCanceledException? e = Assert.Throws<OperationCanceledException>(() => Transform(exec));
        Assert.That(e!.CancellationToken, Is.EqualTo(source.Token));
        exec.Reset();
        Assert.That(Transform(exec), Is.Not.All.Zero);
    }

    [Test]
    public void Cancellation_FromAnotherThread_StopsALoopOfOps()
    {
        using var source = new CancellationTokenSource();
        using var exec = Exec.Create(device, ArenaBytes);
        exec.Cancellation = source.Token;
        using var begun = new ManualResetEventSlim();
        exec.OpCompleted = _ => begun.Set();
        Task cancelling = Task.Run(() =>
        {
            begun.Wait();
            source.Cancel();
        });
        Assert.That(() => RunUntilCancelled(exec), Throws.InstanceOf<OperationCanceledException>());
        cancelling.Wait();
    }

    [Test]
    public void Cancellation_AfterDisposal_IsHarmless()
    {
        using var source = new CancellationTokenSource();
        var exec = Exec.Measure(device);
        exec.Cancellation = source.Token;
        exec.Dispose();
        Assert.That(source.Cancel, Throws.Nothing);
    }

    [Test]
    public void Weight_UsedFromManyThreads_GivesTheSameBits()
    {
        float[][] results = new float[8][];
        Parallel.For(0, results.Length, i =>
        {
            using var exec = Exec.Create(device, ArenaBytes);
            results[i] = Transform(exec);
        });
        Assert.That(results, Is.All.EqualTo(results[0]));
    }

    /// <summary>Four ops with intermediates: layer norm, linear with residual, a join of two columns, and a copy.</summary>
    float[] Transform(Exec exec)
    {
        using Tensor x = exec.Floats([Size, Size], Ramp(Size * Size));
        using Tensor normed = exec.LayerNorm(x, norm, 1e-5f);
        using Tensor y = exec.Linear(normed, matrix, residual: x, activation: Activation.Silu);
        using Tensor half = exec.Contiguous(y.Slice(1, 0, Size / 2));
        using Tensor result = exec.Contiguous(half.Permute(1, 0));
        var values = new float[result.Count];
        exec.Read(result, values.AsSpan());
        return values;
    }

    void RunUntilCancelled(Exec exec)
    {
        while (true)
        {
            Transform(exec);
        }
    }

    static T[] RoundTrip<T>(Exec exec, T[] values, DType dtype) where T : unmanaged
    {
        using Tensor tensor = exec.Upload<T>(values, dtype, values.Length);
        var read = new T[values.Length];
        exec.Read(tensor, read.AsSpan());
        return read;
    }

    static float[] Ramp(int count) => [.. Enumerable.Range(0, count).Select(i => i % 7 - 3f)];
}
