using BenchmarkDotNet.Attributes;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Benchmarks;

/// <summary>
/// A layer of Stable Diffusion 1.5 at the shapes of a 512x512 picture, with random weights, on each device of this machine. Weights and
/// inputs are made once; a call is timed in an arena of exactly the size that it needs. On a CUDA device, in float16, calls are queued and
/// waited for in batches, so the mean is what a call takes in a row of many; the column "Device time" has the time between events.
/// </summary>
public abstract class LayerBenchmark
{
    const int CallsPerWait = 64;
    readonly List<IDisposable> owned = [];
    Device device = null!;
    int queued;

    /// <summary>Where it runs: a name for <see cref="Native.Device.Open"/>.</summary>
    [ParamsSource(nameof(Devices))]
    public string Device { get; set; } = "cpu";

    /// <summary>The devices of this machine. The environment variable SDN_CPU chooses the processor's instruction set.</summary>
    public static IEnumerable<string> Devices =>
        ["cpu", .. Enumerable.Range(0, Native.Device.Count(DeviceKind.Cuda).Count).Select(index => $"cuda:{index}")];

    /// <summary>Where the layers run.</summary>
    protected Exec Exec { get; private set; } = null!;

    /// <summary>Makes layers and inputs, then an arena of the size that the largest of the timed calls takes.</summary>
    [GlobalSetup]
    public void Setup()
    {
        Measure();
        long arenaBytes = TimedCalls.Max(call => Measure(call).PeakBytes);
        Exec.Dispose();
        Exec = Exec.Create(device, arenaBytes);
    }

    /// <summary>Frees everything.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        Exec.Dispose();
        owned.ForEach(part => part.Dispose());
        device.Dispose();
    }

    /// <summary>Operations of one call of a benchmark, 2 per multiply-add, without running it.</summary>
    /// <param name="method">The benchmark's name.</param>
    public long CountFlops(string method)
    {
        Measure();
        try
        {
            return Measure(TimedCalls.Single(call => call.Method.Name == method)).Flops;
        }
        finally
        {
            Cleanup();
        }
    }

    /// <summary>Device time of one call in milliseconds, from events around many; null on a processor.</summary>
    /// <param name="method">The benchmark's name.</param>
    public double? MeasureDeviceTime(string method)
    {
        if (!Device.StartsWith("cuda", StringComparison.Ordinal))
        {
            return null;
        }
        Setup();
        try
        {
            Action call = TimedCalls.Single(timed => timed.Method.Name == method);
            call();
            using DeviceEvent begin = new(device), end = new(device);
            begin.Record(Exec);
            for (int i = 0; i < CallsPerWait; i++)
            {
                call();
            }
            end.Record(Exec);
            end.Synchronize();
            return end.ElapsedMilliseconds(begin) / CallsPerWait;
        }
        finally
        {
            Cleanup();
        }
    }

    /// <summary>Ends a timed call: now and then waits for what was queued.</summary>
    protected void Queued(Tensor result)
    {
        result.Dispose();
        if (device.WorksBehindCalls && !Exec.IsMeasuring && ++queued % CallsPerWait == 0)
        {
            Exec.Synchronize();
        }
    }

    /// <summary>The benchmarks of the class.</summary>
    protected abstract IReadOnlyList<Action> TimedCalls { get; }

    /// <summary>Makes the layers with <see cref="Build"/> and the inputs with <see cref="Input"/>.</summary>
    protected abstract void Prepare();

    /// <summary>A layer with random weights.</summary>
    protected T Build<T>(Func<LayerBuilder, T> declare) where T : Layer
    {
        using var source = new RandomWeightSource();
        var builder = new LayerBuilder(device, Storage, new WeightScope(source));
        T layer = declare(builder[typeof(T).Name]);
        owned.Add(layer);
        builder.Load();
        return layer;
    }

    /// <summary>A dense tensor of random numbers of about unit variance, that outlives the calls.</summary>
    protected Tensor Input(params ReadOnlySpan<long> shape)
    {
        var tensor = new DeviceTensor(device, device.ActivationDType(Storage), shape);
        owned.Add(tensor);
        var random = new System.Random(owned.Count);
        float[] values = [.. Enumerable.Range(0, (int)tensor.Tensor.Count).Select(_ => (random.NextSingle() * 2 - 1) * MathF.Sqrt(3))];
        using var upload = Exec.Create(device, (4 * tensor.Tensor.Count) + 64);
        using Tensor single = upload.Upload<float>(values, DType.Float32, shape);
        upload.Copy(tensor.Tensor, single);
        upload.Synchronize();
        return tensor.Tensor;
    }

    DType Storage => device.Kind == DeviceKind.Cuda ? DType.Float16 : DType.Float32;

    void Measure()
    {
        device = Native.Device.Open(Device);
        Exec = Exec.Measure(device);
        Prepare();
    }

    ExecStats Measure(Action call)
    {
        Exec.Reset();
        call();
        return Exec.Stats;
    }
}
