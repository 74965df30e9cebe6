using System.Diagnostics;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Turns counted arithmetic into progress: the plan knows how much a generation takes. Where ops are done when they return, the exec knows how
/// much was done; where they are queued, only finished steps and images count.
/// </summary>
internal sealed class ProgressMeter(IProgress<GenerationProgress>? progress, MemoryPlan plan, bool queued)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly double _total = Math.Max(1, plan.TotalFlops);
    private GenerationPhase _phase;
    private int _step, _steps;
    private double _before, _done;
    private TimeSpan _loopBegan, _lastStep, _lastReport;

    /// <summary>Mean time of the denoise steps done.</summary>
    public TimeSpan StepTime => _step == 0 ? TimeSpan.Zero : (_lastStep - _loopBegan) / _step;

    /// <summary>Since the generation began.</summary>
    public TimeSpan Elapsed => _clock.Elapsed;

    /// <summary>A phase begins, with an exec of its own.</summary>
    public void Begin(GenerationPhase phase, int steps)
    {
        _phase = phase;
        switch (phase)
        {
            case GenerationPhase.Denoising:
                (_steps, _loopBegan, _lastStep) = (steps, Elapsed, Elapsed);
                _before = plan.Text.Flops;
                _done = Math.Max(_done, _before + plan.Denoise.Flops);
                break;
            case GenerationPhase.Decoding:
                _done = _before = plan.Text.Flops + plan.Denoise.Flops + ((double)plan.Calls * plan.Step.Flops);
                break;
            default:
                break;
        }
        Report(force: true);
    }

    /// <summary>A denoise step is finished.</summary>
    public void StepDone()
    {
        _step++;
        _lastStep = Elapsed;
        _done = plan.Text.Flops + plan.Denoise.Flops + ((double)_step * plan.Step.Flops);
        Report(force: true);
    }

    /// <summary>An image is decoded.</summary>
    public void ImageDone()
    {
        _done += queued ? (plan.Tiled ? plan.Tile : plan.Decode).Flops : 0;
        Report(force: true);
    }

    /// <summary>An op is finished, or queued.</summary>
    public void OnOp(Exec exec)
    {
        if (progress is not null && !queued && Elapsed - _lastReport >= Interval)
        {
            _done = Math.Max(_done, _before + exec.Stats.Flops);
            Report(force: false);
        }
    }

    /// <summary>All is done.</summary>
    public void Done()
    {
        _done = plan.TotalFlops;
        Report(force: true);
    }

    private void Report(bool force)
    {
        if (progress is null || (!force && Elapsed - _lastReport < Interval))
        {
            return;
        }
        _lastReport = Elapsed;
        progress.Report(new GenerationProgress(_phase, _step, _steps, Math.Min(1, _done / _total), _lastReport, StepTime));
    }
}
