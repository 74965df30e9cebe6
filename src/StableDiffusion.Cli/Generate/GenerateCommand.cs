using System.CommandLine;
using System.Diagnostics;
using StableDiffusion.Imaging;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Random;

namespace StableDiffusion.Cli.Generate;

/// <summary><c>generate</c>: draws pictures from prompts.</summary>
internal sealed class GenerateCommand : CliCommand
{
    private readonly GenerateOptions _options = new();
    private readonly Terminal _terminal;
    private readonly CancellationToken _cancellation;

    internal GenerateCommand(Terminal terminal, CancellationToken cancellation) : base("generate", "Draw pictures from text.")
    {
        (_terminal, _cancellation) = (terminal, cancellation);
        _options.AddTo(this);
        SetAction(Run);
    }

    /// <inheritdoc />
    internal override string Notes => $"""
        Schedulers (class names and the names of web UIs; capitals do not matter):
        {SchedulerNames.Help("  ", 110)}

        Examples:
          {CommandLineApp.Name} generate "a red circle on a blue background" --seed 1024 -o circle.png
          {CommandLineApp.Name} generate "a green star" "a pink heart" --count 4 -o "pictures/{"{prompt}-{seed}"}.png"
          {CommandLineApp.Name} generate "a lighthouse at dusk" -n "blurry, text" -m stable-diffusion-v1-5 --size 512x768 --scheduler "DPM++ 2M Karras" -s 30
          {CommandLineApp.Name} generate "a blue circle" --image circle.png --strength 0.6 -o blue.png
          {CommandLineApp.Name} generate "a green star" --image circle.png --mask mask.png -o star.png
          {CommandLineApp.Name} generate "a red circle" --image circle.png --outpaint 0,0,64,0 -o wider.png
          {CommandLineApp.Name} generate "a pink heart" --seed 7 --variation-strength 0.2 --count 4 -o "hearts/"
          {CommandLineApp.Name} generate "a lighthouse at dusk" -m stable-diffusion-v1-5 --hires 2 --hires-strength 0.55
          {CommandLineApp.Name} generate "a lighthouse at dusk" -m sdxl-base-1.0 --refiner sdxl-refiner-1.0
          {CommandLineApp.Name} generate "a yellow ring" --json | jq -r 'select(.event == "image").file'

        Every PNG holds its prompt, seed and settings; 'inspect' shows them. '{CommandLineApp.Name} --help' lists the exit codes.
        """;

    private int Run(ParseResult parsed)
    {
        GenerateJob job = GenerateJob.Read(parsed, _options);
        using (ModelSource model = ModelSource.Open(job.Model))
        {
            job.CheckModel(model);
        }
        OutputPattern.EnsureWritable(job.AllFiles);
        GenerationView view = parsed.GetValue(_options.Json) ? new JsonView(_terminal)
            : parsed.GetValue(_options.Quiet) ? new QuietView(_terminal)
            : _terminal.ErrIsTerminal ? new BarView(_terminal)
            : new PlainView(_terminal);
        view.Run(() =>
        {
            view.Loading(job.Model);
            using Device device = Devices.Open(parsed.GetRequiredValue(_options.Device), parsed.GetValue(_options.Threads), parsed.GetValue(_options.Precision));
            var common = new LoadOptions { WeightDType = parsed.GetValue(_options.DType)?.DType, MemoryLimitBytes = parsed.GetValue(_options.MemoryLimit) };
            LoadOptions options = common with
            {
                Vae = parsed.GetValue(_options.Vae),
                PredictionType = parsed.GetValue(_options.Prediction),
                PreviewVae = parsed.GetValue(_options.Previews.Vae),
            };
            using var pipeline = StableDiffusionPipeline.Load(job.Model, device, options, _cancellation);
            using Refinement? refinement = job.Refiner is null ? null : Refinement.Load(job.Refiner, pipeline.Components, common, _cancellation);
            Draw(job, pipeline, refinement, parsed.GetValue(_options.Rng)?.GpuOn(device), view);
        });
        view.Finish();
        return ExitCode.Ok;
    }

    private void Draw(GenerateJob job, StableDiffusionPipeline pipeline, Refinement? refinement, TorchCudaGpu? noiseGpu, GenerationView view)
    {
        PipelineComponents parts = pipeline.Components;
        FloatTensor? initial = job.LatentsFrom is null ? null : LatentsFile.Read(job.LatentsFrom, job.Images.Count);
        var clock = Stopwatch.StartNew();
        var final = new List<FloatTensor>();
        IReadOnlyList<PlannedImage[]> batches = job.Batches;
        for (int i = 0; i < batches.Count; i++)
        {
            PlannedImage[] batch = batches[i];
            GenerationRequest request = job.RequestFor(batch, parts.Scheduler, parts.IsXl, initial) with { NoiseGpu = noiseGpu };
            if (i == 0)
            {
                view.Begin(new DrawingPlan(job, request, parts));
            }
            view.BeginBatch(i, batches.Count, batch);
            (GenerationResult result, IReadOnlyList<GenerationParameters> parameters) = Generate(pipeline, refinement, request, job, view);
            using GenerationResult drawn = result;
            view.Warnings(result.Warnings);
            for (int j = 0; j < batch.Length; j++)
            {
                result.Images[j].Save(job.Files[batch[j].Index], job.Complete(parameters[j], batch[j], refinement?.Name));
                view.Saved(batch[j], job.Files[batch[j].Index], result.StepTime);
            }
            final.Add(result.Latents);
        }
        if (job.SaveLatentsTo is not null)
        {
            LatentsFile.Write(job.SaveLatentsTo, FloatTensor.Concat([.. final]));
        }
        view.Done(clock.Elapsed);
    }

    /// <summary>Draws, with the refiner where there is one; latents that could not be decoded are saved where latents were asked for.</summary>
    private (GenerationResult Result, IReadOnlyList<GenerationParameters> Parameters) Generate(
        StableDiffusionPipeline pipeline, Refinement? refinement, GenerationRequest request, GenerateJob job, GenerationView view)
    {
        try
        {
            if (refinement is not null)
            {
                return refinement.Generate(pipeline, request, job, view, _cancellation);
            }
            GenerationResult result = pipeline.Generate(request, view, _cancellation);
            return (result, result.Parameters);
        }
        catch (GenerationOutOfMemoryException failure) when (job.SaveLatentsTo is not null)
        {
            LatentsFile.Write(job.SaveLatentsTo, failure.Latents);
            throw new CliException(ExitCode.Memory, $"{failure.Message} They are in {job.SaveLatentsTo}", failure);
        }
    }
}
