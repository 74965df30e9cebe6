using System.Diagnostics;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>What is about to be drawn, with everything that was left to the model filled in.</summary>
internal sealed record DrawingPlan(GenerateJob Job, GenerationRequest Request, PipelineComponents Parts)
{
    internal int Width => Request.Width ?? (Job.SourceSize is { } source ? source.Width / Parts.VaeScale * Parts.VaeScale : Native.Width * Parts.VaeScale);

    internal int Height => Request.Height ?? (Job.SourceSize is { } source ? source.Height / Parts.VaeScale * Parts.VaeScale : Native.Height * Parts.VaeScale);

    internal double GuidanceScale => Parts.GuidanceScaleOf(Request);

    internal string Scheduler => Job.SchedulerName ?? Parts.Scheduler.Name;

    private (int Height, int Width) Native => Parts.Unet.Config.SampleSize ?? (64, 64);
}

/// <summary>How the user follows a generation. Everything happens on the thread that draws.</summary>
internal abstract class GenerationView(Terminal terminal) : IProgress<GenerationProgress>
{
    private readonly Stopwatch _clock = new();
    private int _batch, _batches = 1;
    private DrawingPlan? _plan;

    protected Terminal Terminal { get; } = terminal;

    /// <summary>The pictures being drawn.</summary>
    protected IReadOnlyList<PlannedImage> Batch { get; private set; } = [];

    /// <summary>Runs the work with whatever has to be around it.</summary>
    internal virtual void Run(Action work) => work();

    /// <summary>The model is being loaded.</summary>
    internal virtual void Loading(string model) { }

    /// <summary>The model is loaded, and this is what will be drawn if the pipeline finds nothing wrong with it.</summary>
    internal void Begin(DrawingPlan plan) => _plan = plan;

    /// <summary>The next pictures begin.</summary>
    internal virtual void BeginBatch(int index, int count, IReadOnlyList<PlannedImage> batch)
    {
        _clock.Start();
        (_batch, _batches, Batch) = (index, count, batch);
    }

    /// <inheritdoc />
    public void Report(GenerationProgress value)
    {
        if (_plan is not null)
        {
            Started(_plan);
            _plan = null;
        }
        Progress(value);
    }

    /// <summary>Drawing has begun.</summary>
    protected virtual void Started(DrawingPlan plan) { }

    /// <summary>Where it stands.</summary>
    protected virtual void Progress(GenerationProgress progress) { }

    /// <summary>What the user should know, on stderr, each once.</summary>
    internal virtual void Warnings(IReadOnlyList<string> warnings)
    {
        foreach (string warning in warnings)
        {
            Terminal.Warn(warning);
        }
    }

    /// <summary>A picture is in its file.</summary>
    internal virtual void Saved(PlannedImage image, string file, TimeSpan stepTime) { }

    /// <summary>All is drawn.</summary>
    internal virtual void Done(TimeSpan elapsed) { }

    /// <summary>Says what was drawn, after everything is cleaned up.</summary>
    internal virtual void Finish() { }

    /// <summary>Share of the whole call that is done, 0..1.</summary>
    protected double TotalFraction(GenerationProgress progress) => (_batch + progress.Fraction) / _batches;

    /// <summary>"picture 2/3, step 5/25", in the words that fit the phase.</summary>
    protected string Describe(GenerationProgress progress)
    {
        string phase = progress.Phase switch
        {
            GenerationPhase.TextEncoding => "reading the prompt",
            GenerationPhase.Encoding => "reading the image",
            GenerationPhase.Denoising => Units.Text($"step {progress.Step}/{progress.Steps}"),
            _ => "decoding",
        };
        return _batches == 1 ? phase : Units.Text($"{(Batch.Count == 1 ? "picture" : "batch")} {_batch + 1}/{_batches}, {phase}");
    }

    /// <summary>", 1.20 s per step, 24 s left": what is known of it.</summary>
    protected string Pace(GenerationProgress progress)
    {
        double fraction = TotalFraction(progress);
        string step = progress.StepTime > TimeSpan.Zero ? $", {Units.Seconds(progress.StepTime.TotalSeconds)} per step" : "";
        // The first hundredth says little about the rest.
        string left = fraction is > 0.01 and < 1 ? $", {Units.WholeSeconds(_clock.Elapsed.TotalSeconds * (1 - fraction) / fraction)} left" : "";
        return step + left;
    }
}

/// <summary>Nothing but warnings.</summary>
internal sealed class QuietView(Terminal terminal) : GenerationView(terminal);
