using System.Diagnostics;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>Lines of text: the plan, now and then where it stands, and the files (these on stdout).</summary>
internal class PlainView(Terminal terminal) : GenerationView(terminal)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private readonly Stopwatch _sinceReport = Stopwatch.StartNew();
    private string? _plan;
    private int _count;
    private TimeSpan _elapsed, _stepTime;

    /// <inheritdoc />
    protected override void Started(DrawingPlan plan)
    {
        DeviceInfo device = plan.Parts.Device.Info;
        string threads = device.Kind == DeviceKind.Cpu ? $", {Plural(device.Threads, "thread")}" : "";
        _plan = Units.Text(
            $"{plan.Job.Model} on {plan.Parts.Device} ({device.InstructionSet}{threads}): {Plural(plan.Job.Images.Count, "picture")} of {plan.Width}x{plan.Height}, {Plural(plan.Job.Steps, "step")}, {plan.Scheduler}, guidance {plan.GuidanceScale}");
    }

    /// <inheritdoc />
    protected override void Progress(GenerationProgress progress)
    {
        // What can be wrong with a prompt is found while it is encoded, and then the error is the only line.
        if (_plan is not null && progress.Phase == GenerationPhase.Denoising)
        {
            Terminal.Err.WriteLine(_plan);
            _plan = null;
        }
        if (_sinceReport.Elapsed < Interval)
        {
            return;
        }
        _sinceReport.Restart();
        Terminal.Err.WriteLine(Describe(progress) + Pace(progress));
    }

    /// <inheritdoc />
    internal override void Saved(PlannedImage image, string file, TimeSpan stepTime)
    {
        _stepTime = stepTime;
        _count++;
        Written(Units.Text($"wrote {file} (seed {image.Seed})"));
    }

    /// <summary>Tells of a file.</summary>
    protected virtual void Written(string line) => Terminal.Out.WriteLine(line);

    /// <inheritdoc />
    internal override void Done(TimeSpan elapsed) => _elapsed = elapsed;

    /// <inheritdoc />
    internal override void Finish() =>
        Terminal.Err.WriteLine($"{Plural(_count, "picture")} in {Units.Seconds(_elapsed.TotalSeconds)}, {Units.Seconds(_stepTime.TotalSeconds)} per step");

    private static string Plural(int count, string noun) => Units.Text($"{count} {noun}{(count == 1 ? "" : "s")}");
}
