using System.Diagnostics;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>Turns counted arithmetic into progress: the plan knows how much a generation takes, the exec how much was done.</summary>
internal sealed class ProgressMeter(IProgress<GenerationProgress>? progress, MemoryPlan plan)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly double _total = Math.Max(1, plan.TotalFlops);
    private GenerationPhase _phase;
    private int _step, _steps;
    private long _flops;
    private TimeSpan _loopBegan, _lastStep, _lastReport;

    /// <summary>Mean time of the denoise steps done.</summary>
    public TimeSpan StepTime => _step == 0 ? TimeSpan.Zero : (_lastStep - _loopBegan) / _step;

    /// <summary>Since the generation began.</summary>
    public TimeSpan Elapsed => _clock.Elapsed;

    /// <summary>A phase begins.</summary>
    public void Begin(GenerationPhase phase, int steps)
    {
        _phase = phase;
        if (phase == GenerationPhase.Denoising)
        {
            (_steps, _loopBegan, _lastStep) = (steps, Elapsed, Elapsed);
        }
        Report(force: true);
    }

    /// <summary>A denoise step is finished.</summary>
    public void StepDone(Exec exec)
    {
        _step++;
        _flops = exec.Stats.Flops;
        _lastStep = Elapsed;
        Report(force: true);
    }

    /// <summary>An op is finished.</summary>
    public void OnOp(Exec exec)
    {
        if (progress is not null && Elapsed - _lastReport >= Interval)
        {
            _flops = exec.Stats.Flops;
            Report(force: false);
        }
    }

    /// <summary>All is done.</summary>
    public void Done(Exec exec)
    {
        _flops = exec.Stats.Flops;
        Report(force: true);
    }

    private void Report(bool force)
    {
        if (progress is null || (!force && Elapsed - _lastReport < Interval))
        {
            return;
        }
        _lastReport = Elapsed;
        progress.Report(new GenerationProgress(_phase, _step, _steps, Math.Min(1, _flops / _total), _lastReport, StepTime));
    }
}
