using System.Text.Json.Nodes;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>One JSON object per line on stdout, flushed, for programs that follow along.</summary>
internal sealed class JsonView(Terminal terminal) : GenerationView(terminal)
{
    private readonly JsonArray _files = [], _seeds = [], _warnings = [];
    private double _seconds, _stepSeconds;

    /// <inheritdoc />
    protected override void Started(DrawingPlan plan) => Write(new JsonObject
    {
        ["event"] = "start",
        ["model"] = plan.Job.Model,
        ["device"] = plan.Parts.Device.ToString(),
        ["dtype"] = DTypeNames.Name(plan.Parts.Unet.Storage),
        ["precision"] = plan.Parts.Device.Info.Precision.ToString().ToLowerInvariant(),
        ["vae_dtype"] = DTypeNames.Name(plan.Parts.Vae.Storage),
        ["images"] = plan.Job.Images.Count,
        ["steps"] = plan.Job.Steps,
        ["width"] = plan.Width,
        ["height"] = plan.Height,
        ["scheduler"] = plan.Scheduler,
        ["guidance_scale"] = plan.GuidanceScale,
        ["weights_bytes"] = plan.Parts.WeightBytes,
    });

    /// <inheritdoc />
    protected override void Progress(GenerationProgress progress) => Write(new JsonObject
    {
        ["event"] = "progress",
        ["phase"] = progress.Phase switch
        {
            GenerationPhase.TextEncoding => "text_encoding",
            GenerationPhase.Encoding => "encoding",
            GenerationPhase.Denoising => "denoising",
            _ => "decoding",
        },
        ["index"] = Batch[0].Index,
        ["step"] = progress.Step,
        ["steps"] = progress.Steps,
        ["fraction"] = Math.Round(TotalFraction(progress), 4),
        ["seconds"] = Seconds(progress.Elapsed),
        ["step_seconds"] = Seconds(progress.StepTime),
    });

    /// <inheritdoc />
    internal override void Warnings(IReadOnlyList<string> warnings)
    {
        base.Warnings(warnings);
        foreach (string warning in warnings.Where(w => !_warnings.Any(known => known!.ToString() == w)))
        {
            _warnings.Add(warning);
        }
    }

    /// <inheritdoc />
    internal override void Saved(PlannedImage image, string file, TimeSpan stepTime)
    {
        _files.Add(file);
        _seeds.Add(image.Seed);
        _stepSeconds = Seconds(stepTime);
        Write(new JsonObject { ["event"] = "image", ["index"] = image.Index, ["prompt"] = image.Prompt, ["seed"] = image.Seed, ["file"] = file });
    }

    /// <inheritdoc />
    internal override void Done(TimeSpan elapsed) => _seconds = Seconds(elapsed);

    /// <inheritdoc />
    internal override void Finish() => Write(new JsonObject
    {
        ["event"] = "result",
        ["files"] = _files,
        ["seeds"] = _seeds,
        ["seconds"] = _seconds,
        ["step_seconds"] = _stepSeconds,
        ["warnings"] = _warnings,
    });

    private static double Seconds(TimeSpan time) => Math.Round(time.TotalSeconds, 4);

    private void Write(JsonObject line)
    {
        Terminal.Out.WriteLine(line.ToJsonString(Json.Options));
        Terminal.Out.Flush();
    }
}
