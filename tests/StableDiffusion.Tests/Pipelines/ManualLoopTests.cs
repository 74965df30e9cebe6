using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Random;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;
using StableDiffusion.Tokenizers;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>The components one by one, as docs/manual-loop.md shows them, draw what the pipeline draws.</summary>
public sealed class ManualLoopTests
{
    [Test]
    public void ManualLoop_ComponentByComponent_SameLatentsAsPipeline()
    {
        string folder = ModelFolder.Open(ModelFolder.BuiltIn).Path;
        FloatTensor image, latents;

        // The text of docs/manual-loop.md from here.
        Device device = Device.Auto;
        ClipTokenizer tokenizer = ClipTokenizer.Load($"{folder}/tokenizer");
        using ClipTextModel textEncoder = ClipTextModel.Load($"{folder}/text_encoder", device);
        using UNet2DConditionModel unet = UNet2DConditionModel.Load($"{folder}/unet", device);
        using AutoencoderKL vae = AutoencoderKL.Load($"{folder}/vae", device);
        Scheduler scheduler = Scheduler.Load($"{folder}/scheduler");
        const double guidanceScale = 7.5;

        int[] prompt = [.. tokenizer.EncodePadded("a red circle on a blue background").Ids];
        int[] negative = [.. tokenizer.EncodePadded("").Ids];
        FloatTensor context = textEncoder.Encode(device, [negative, prompt]);

        SchedulerRun run = scheduler.Begin(10);
        latents = new FloatTensor(1, 4, 16, 16);
        new TorchCpuGenerator(1024).Normal(latents.Values);
        latents = latents.Scale(run.InitNoiseSigma);

        using var solver = new StepExecutor<float[]>(new HostStepOps(batch: 1));
        for (int i = 0; i < run.Timesteps.Count; i++)
        {
            FloatTensor input = latents.Scale(run.InputScale(i));
            FloatTensor prediction = unet.Predict(device, FloatTensor.Concat(input, input), run.Timesteps[i], context);
            FloatTensor guided = FloatTensor.Guide(prediction.Slice(0, 1), prediction.Slice(1, 1), guidanceScale);
            solver.Execute(run.Step(i), latents.Values, guided.Values);
        }
        image = vae.Decode(device, latents.Scale(1 / vae.Config.ScalingFactor));
        // To here.

        using var pipeline = StableDiffusionPipeline.Load(folder, device);
        using GenerationResult expected = pipeline.Generate(new("a red circle on a blue background") { Steps = 10, Seed = 1024 });
        Tolerances.AssertPeakError(latents.Values, expected.Latents.Values, [1, 4, 16, 16], Tolerances.ElementwiseFloat32, "latents");
        byte[] pixels = [.. image.Values.Select(value => (byte)MathF.Round(255 * Math.Clamp(value / 2 + 0.5f, 0, 1)))];
        for (int y = 0; y < 128; y++)
        {
            for (int x = 0; x < 128; x++)
            {
                for (int c = 0; c < 3; c++)
                {
                    Assert.That(expected.Images[0].Pixels[3 * (128 * y + x) + c], Is.EqualTo(pixels[128 * (128 * c + y) + x]).Within(1), $"pixel {x},{y} channel {c}");
                }
            }
        }
    }
}
