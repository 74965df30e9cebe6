using System.Diagnostics;
using StableDiffusion.Native;

namespace StableDiffusion.Cli.Bench;

/// <summary>Builds, measures and times.</summary>
internal static class BenchRun
{
    // A phase of fewer operations is run once before it is timed; a bigger one pays more for that than it gains.
    private const double WarmUpFlops = 1e11;
    private const double PeakSeconds = 0.4;

    /// <summary>Runs the phases.</summary>
    /// <param name="settings">What to run.</param>
    /// <param name="device">Where.</param>
    /// <param name="say">Told what is going on.</param>
    /// <param name="cancellation">Stops between two ops.</param>
    /// <exception cref="OutOfDeviceMemoryException">Weights or work do not fit; noticed before the work.</exception>
    internal static BenchResult Run(BenchSettings settings, Device device, Action<string> say, CancellationToken cancellation)
    {
        ProcessMemory.ResetPeak();
        using var model = new BenchModel(settings, device);
        say(settings.Checkpoint is { } checkpoint ? $"loading {checkpoint.Path}" : $"making {Units.Bytes(model.CheckpointBytes)} of random weights");
        model.Load(cancellation);
        var results = new List<PhaseResult>();
        if (model.LoadSeconds is { } seconds && settings.Phases.Contains(BenchPhase.Load))
        {
            results.Add(new PhaseResult(BenchPhase.Load, seconds, 0, null));
        }
        if (model.Phases.Count == 0)
        {
            return new BenchResult(settings, device.Info, device.Threads, results, null, model.CheckpointBytes, model.WeightBytes, 0, ProcessMemory.Peak());
        }
        long arena = model.Phases.Max(phase => Measure(phase, device).PeakBytes);
        long free = device.Info.FreeBytes;
        if (arena > free)
        {
            throw new OutOfDeviceMemoryException($"Running {settings.Width}x{settings.Height} in batches of {settings.Batch}", arena, free, "Use a smaller --size or --batch.");
        }
        double? peak = MeasurePeak(device, settings.DType);
        using Exec exec = Exec.Create(device, arena);
        exec.Cancellation = cancellation;
        foreach (BenchPhase phase in model.Phases)
        {
            say($"running {phase.Name}");
            double flops = Measure(phase, device).Flops;
            exec.Reset();
            phase.Prepare(exec);
            results.Add(device.Kind == DeviceKind.Cuda ? TimeOnDevice(phase, exec, settings) : Time(phase, exec, settings, flops));
            phase.Release();
        }
        // Other work on the machine can only lower it, so the better of two is nearer to the truth.
        peak = peak is { } first ? Math.Max(first, MeasurePeak(device, settings.DType) ?? 0) : null;
        return new BenchResult(settings, device.Info, device.Threads, results, peak, model.CheckpointBytes, model.WeightBytes, arena, ProcessMemory.Peak());
    }

    /// <summary>The device's peak beside weights of that type; null where it cannot be measured.</summary>
    private static double? MeasurePeak(Device device, DType weights)
    {
        try
        {
            return device.MeasurePeakGflops(PeakSeconds, weights == DType.Int8 ? DType.Float32 : weights);
        }
        catch (NotSupportedException)
        {
            return null;
        }
    }

    private static ExecStats Measure(BenchPhase phase, Device device)
    {
        using Exec exec = Exec.Measure(device);
        phase.Prepare(exec);
        phase.Run(exec);
        phase.Release();
        return exec.Stats;
    }

    private static PhaseResult Time(BenchPhase phase, Exec exec, BenchSettings settings, double flops)
    {
        if (flops < WarmUpFlops)
        {
            phase.Run(exec);
        }
        PhaseResult? best = null;
        for (int i = 0; i < settings.Repeat; i++)
        {
            LayerProfile? profile = settings.Layers ? new LayerProfile(phase.Name) : null;
            exec.Trace = profile;
            long before = exec.Stats.Flops, start = Stopwatch.GetTimestamp();
            phase.Run(exec);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            exec.Trace = null;
            if (best is null || seconds < best.Seconds)
            {
                best = new PhaseResult(phase.Name, seconds, exec.Stats.Flops - before, profile?.Costs);
            }
        }
        return best!;
    }

    /// <summary>Device time: many runs queued between two events, with one wait at the end; as a graph where the phase can be captured.</summary>
    internal static PhaseResult TimeOnDevice(BenchPhase phase, Exec exec, BenchSettings settings)
    {
        long before = exec.Stats.Flops;
        phase.Run(exec);
        exec.Synchronize();
        double flops = exec.Stats.Flops - before;
        double eager = Between(exec, settings.Repeat, () => phase.Run(exec));
        IReadOnlyList<LayerCost>? layers = null;
        if (settings.Layers)
        {
            using var profile = new DeviceLayerProfile(phase.Name, exec.Device);
            exec.Trace = profile;
            phase.Run(exec);
            exec.Trace = null;
            exec.Synchronize();
            layers = profile.Costs();
        }
        if (!phase.CanBeCaptured)
        {
            return new PhaseResult(phase.Name, eager, flops, layers);
        }
        using Graph graph = exec.Capture(() => phase.Run(exec));
        graph.Launch(exec);
        return new PhaseResult(phase.Name, Between(exec, settings.Repeat, () => graph.Launch(exec)), flops, layers, eager);
    }

    private static double Between(Exec exec, int runs, Action run)
    {
        using DeviceEvent begin = new(exec.Device), end = new(exec.Device);
        begin.Record(exec);
        for (int i = 0; i < runs; i++)
        {
            run();
        }
        end.Record(exec);
        end.Synchronize();
        return end.ElapsedMilliseconds(begin) / runs / 1000;
    }
}
