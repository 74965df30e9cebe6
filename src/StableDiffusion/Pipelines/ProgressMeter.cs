using System.Diagnostics;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Turns counted arithmetic into progress: the plan knows how much a generation takes. Where ops are done when they return, the exec knows how
/// much was done; where they are queued, only finished steps and images count.
/// </summary>
internal sealed class ProgressMeter(IProgress<GenerationProgress>? progress, IReadOnlyList<MemoryPlan> plans, bool queued)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly double _total = Math.Max(1, plans.Sum(plan => plan.TotalFlops));
    private readonly int _steps = plans.Sum(plan => plan.Calls);
    private GenerationPhase _phase;
    private int _step, _loop = -1, _pictures;
    private double _before, _phaseFlops, _inLoop, _done, _pictureFlops;
    private TimeSpan _lastStep, _lastReport, _stepping;

    /// <summary>Mean time of the denoise steps done.</summary>
    public TimeSpan StepTime => _step == 0 ? TimeSpan.Zero : _stepping / _step;

    /// <summary>Since the generation began.</summary>
    public TimeSpan Elapsed => _clock.Elapsed;

    /// <summary>A phase begins, with an exec of its own; in the order text, then per loop pictures (where there are any) and denoising, then decoding.</summary>
    public void Begin(GenerationPhase phase)
    {
        // What the phases before this one were planned to take.
        _before += _phaseFlops;
        _phase = phase;
        switch (phase)
        {
            case GenerationPhase.TextEncoding:
                _phaseFlops = plans[0].Text.Flops;
                break;
            case GenerationPhase.Encoding:
                MemoryPlan next = plans[_loop + 1];
                (_phaseFlops, _pictureFlops) = (next.EncodeFlops, next.EncodeFlops / Math.Max(1, next.Encodings));
                break;
            case GenerationPhase.Denoising:
                _loop++;
                (_phaseFlops, _lastStep) = (plans[_loop].LoopFlops, Elapsed);
                _done = _before + plans[_loop].Denoise.Flops;
                break;
            default:
                (_phaseFlops, _pictureFlops) = (plans[^1].DecodeFlops, plans[^1].DecodeFlops / plans[^1].Shape.Images);
                break;
        }
        if (phase != GenerationPhase.Denoising)
        {
            _done = _before;
        }
        (_pictures, _inLoop) = (0, 0);
        Report(force: true);
    }

    /// <summary>A denoise step is finished, which was planned to take that arithmetic.</summary>
    public void StepDone(double flops)
    {
        _step++;
        (_stepping, _lastStep) = (_stepping + (Elapsed - _lastStep), Elapsed);
        _inLoop += flops;
        _done = _before + plans[_loop].Denoise.Flops + _inLoop;
        Report(force: true);
    }

    /// <summary>A picture is encoded or decoded.</summary>
    public void PictureDone()
    {
        _pictures++;
        _done = Math.Max(_done, _before + (_pictures * _pictureFlops));
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
        _done = _total;
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
