using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>
/// Whole guided runs in half precision, step by step: each prediction is compared with the float32 UNet on the very latents that the step had, so that
/// the limit is that of one prediction, whatever a model makes of small differences; and the solver, which is float32 on every device, with the host's.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Cuda))]
public sealed class GuidedHalfPrecisionTests(string deviceName)
{
    private const double Scale = 7.5;

    private const int Steps = 3;

    [TestCase(DType.Float16)]
    [TestCase(DType.BFloat16)]
    public void Generate_Guided_EachStepIsASolverStepOfARoundedPrediction(DType dtype)
    {
        var request = new GenerationRequest("a cat")
        {
            Steps = Steps,
            Seed = 7,
            Width = 32,
            Height = 32,
            GuidanceScale = Scale,
            LatentsOnly = true,
            Scheduler = Scheduler.Create("DPMSolverMultistep"),
        };
        using Device device = Device.Open(deviceName), processor = Device.Open("cpu");
        using var half = StableDiffusionPipeline.Load(Fixtures.PathOf("models", "sd1"), device, new LoadOptions { WeightDType = dtype });
        using var single = StableDiffusionPipeline.Load(Fixtures.PathOf("models", "sd1"), processor, new LoadOptions { WeightDType = DType.Float32 });
        var seen = new List<(float Timestep, FloatTensor Latents, FloatTensor? ModelOutput, FloatTensor? Original)>();
        using GenerationResult result = half.Generate(request with
        {
            StepEnd = step => seen.Add((step.Timestep, step.Latents, step.Index < 0 ? null : step.ModelOutput, step.Index < 0 ? null : step.PredictedOriginal)),
        });

        SchedulerRun run = request.Scheduler!.Begin(Steps);
        PromptEmbeddings embeddings = single.EncodePrompt(request);
        using var solver = new StepExecutor<float[]>(new HostStepOps(batch: 1));
        double relative = Tolerances.HalfPrecisionTypical(dtype, CountOps(single.Components));
        for (int i = 0; i < Steps; i++)
        {
            (float timestep, _, FloatTensor? output, FloatTensor? original) = seen[i + 1];
            FloatTensor before = seen[i].Latents, input = before.Scale(run.InputScale(i));
            UNet2DConditionModel unet = single.Components.Unet;
            FloatTensor negative = unet.Predict(processor, input, timestep, embeddings.Negative!), positive = unet.Predict(processor, input, timestep, embeddings.Prompt);
            FloatTensor expected = FloatTensor.Guide(negative, positive, Scale);
            // Guidance is (1 - g) negative + g positive: the halves' errors, independent at worst, are weighed by it.
            double limit = relative * Math.Sqrt(Math.Pow((Scale - 1) * Norm(negative.Values), 2) + Math.Pow(Scale * Norm(positive.Values), 2));
            double error = Norm([.. output!.Values.Zip(expected.Values, (a, b) => a - b)]);
            TestContext.Out.WriteLine($"step {i + 1}: {error / Norm(expected.Values):P2} of the guided prediction, {error / limit:F3} of the limit");
            Assert.That(error, Is.LessThanOrEqualTo(limit), $"{dtype}, prediction of step {i + 1}");

            float[] latents = [.. before.Values];
            float[] estimate = solver.Execute(run.Step(i), latents, output.Values);
            Tolerances.AssertPeakError(seen[i + 1].Latents.Values, latents, [.. before.Shape], Tolerances.ElementwiseFloat32, $"latents after step {i + 1}");
            Tolerances.AssertPeakError(original!.Values, estimate, [.. before.Shape], Tolerances.ElementwiseFloat32, $"estimate of step {i + 1}");
        }
        using GenerationResult reference = single.Generate(request);
        TestContext.Out.WriteLine($"latents after {Steps} steps: {Tolerances.TypicalError(result.Latents.Values, reference.Latents.Values):P2} from the float32 run's");
    }

    private static double Norm(IEnumerable<float> values) => Math.Sqrt(values.Sum(value => (double)value * value));

    private static long CountOps(PipelineComponents parts)
    {
        using Exec exec = Exec.Measure(parts.Device);
        using Tensor sample = exec.Alloc(DType.Float32, 1, 4, 4, 4), tokens = exec.Alloc(DType.Float32, 1, 77, parts.Unet.Config.CrossAttentionDim[0]);
        parts.Unet.Forward(exec, sample, [1], tokens).Dispose();
        return exec.Stats.Ops;
    }
}
