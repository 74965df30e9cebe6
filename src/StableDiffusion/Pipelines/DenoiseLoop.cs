using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// The denoise loop of all families and tasks: that of Ho et al. 2020 (arXiv 2006.11239) with classifier-free guidance (arXiv 2207.12598), in the order
/// diffusers' pipelines have. Everything mutable of a loop lives here.
/// </summary>
/// <param name="scope">Of the generation.</param>
/// <param name="request">What was asked for.</param>
/// <param name="plan">Sizes and memory.</param>
/// <param name="span">The part of the schedule to run.</param>
/// <param name="noise">Draws what stochastic schedulers add.</param>
internal sealed class DenoiseLoop(GenerationScope scope, GenerationRequest request, MemoryPlan plan, ScheduleSpan span, NoiseSource noise) : IDisposable
{
    private readonly List<IDisposable> _owned = [];

    private PipelineComponents Parts => scope.Parts;

    private GenerationShape Shape => plan.Shape;

    /// <summary>Runs it and returns the final latents <c>[B,C,h,w]</c>.</summary>
    /// <param name="conditioning">What the UNet is told.</param>
    /// <param name="start">Where it starts.</param>
    /// <param name="done">Steps done before this loop, by which the steps of this one are numbered on.</param>
    public FloatTensor Run(Conditioning conditioning, LoopStart start, int done = 0)
    {
        scope.Where = "preparing the UNet";
        return scope.NamingFaults(() =>
        {
            using Exec exec = scope.NewExec(plan.Denoise.Bytes);
            // 1. What stays the same over all steps: cross-attention keys and values, added conditions, channels beside the
            // latents; and of all steps at once what their timesteps add, which is made with the denoiser.
            UnetContext context = conditioning.Prepare(exec, Parts.Unet);
            using var input = new ModelInput(exec, Parts.Device, Shape, start.Extra);
            using var denoisers = new DenoiserChoice(exec, Parts, plan, context, [.. span.Run.Timesteps.Skip(span.First).Take(span.Calls)], input);
            return Run(exec, denoisers, input, start, done);
        });
    }

    /// <inheritdoc />
    public void Dispose() => _owned.ForEach(owned => owned.Dispose());

    /// <summary>Every op that a step may call beside the UNet, in measure mode: for the scratch they take.</summary>
    public static void MeasureStep(Exec exec, GenerationShape shape, Tensor prediction)
    {
        using Tensor output = exec.Alloc(DType.Float32, shape.Images, shape.Height, shape.Width, shape.Channels);
        Guidance.Combine(exec, shape, rescale: 1, output, prediction);
        exec.DynamicThreshold(output, output, 0.995f, 1);
        exec.Clamp(output, output, -1, 1);
        exec.IsFinite(output);
    }

    private FloatTensor Run(Exec exec, DenoiserChoice denoisers, ModelInput input, LoopStart start, int done)
    {
        SchedulerRun run = span.Run;
        using var executor = new StepExecutor<DeviceTensor>(new DeviceStepOps(exec));

        // 2. The first latents.
        DeviceTensor latents = Own(Shape.Channels), modelOutput = Own(Shape.Channels), drawn = Own(Shape.Channels);
        Write(exec, latents, start.Latents);
        PartKeeper? keeper = start.Kept is null ? null : Keep(exec, start.Kept);
        Show(done - 1, run.Timesteps[span.First], () => Read(exec, latents), null, null);

        // 3. The loop.
        scope.Meter.Begin(GenerationPhase.Denoising);
        // Looking at values waits for the device, which costs nothing where it does not work behind the calls, or where StepEnd looks anyway.
        bool looksAtEachStep = !scope.IsQueued || request.StepEnd is not null;
        using var window = new StepWindow(Parts.Device, call => scope.Meter.StepDone(plan.CostOf(call - span.First)));
        for (int call = span.First; call < span.End; call++)
        {
            int index = call - span.First;
            scope.Where = $"denoising, step {index + 1} of {span.Calls}";
            window.WaitUntil(StepWindow.Capacity - 1, scope.Cancellation);
            IDenoiser denoiser = denoisers.For(plan.IsGuided(index));
            input.Write(denoiser, latents.Tensor, run.InputScale(call));
            Guidance.Combine(exec, denoiser.Shape, request.GuidanceRescale, modelOutput.Tensor, denoiser.Predict(index));
            StepProgram program = run.Step(call);
            if (program.DrawsNoise)
            {
                Write(exec, drawn, noise.Draw(Shape.Images, Shape.Channels, Shape.Height, Shape.Width));
            }
            DeviceTensor original = executor.Execute(program, latents, modelOutput, drawn);
            keeper?.PutBack(latents.Tensor, call + 1 < span.End ? run.AddNoise(call + 1) : (1, 0));
            if (looksAtEachStep)
            {
                RequireFinite(exec, latents, $"step {index + 1}");
            }
            window.Add(exec, call);
            if (request.StepEnd is not null)
            {
                window.WaitUntil(0, scope.Cancellation);
                Show(done + index, run.Timesteps[call], () => Read(exec, latents), () => Read(exec, modelOutput), () => Read(exec, original));
            }
        }
        window.WaitUntil(0, scope.Cancellation);
        if (!looksAtEachStep)
        {
            RequireFinite(exec, latents, "the last step");
        }
        return Read(exec, latents);
    }

    private void Show(int index, float timestep, Func<FloatTensor> latents, Func<FloatTensor>? modelOutput, Func<FloatTensor>? original)
    {
        if (request.StepEnd is not null)
        {
            new GenerationStep(index, timestep, new GenerationStep.Tensors(latents, modelOutput, original, Parts.Preview)).Show(request.StepEnd);
        }
    }

    private PartKeeper Keep(Exec exec, KeptPart kept)
    {
        DeviceTensor latents = Own(Shape.Channels), unit = Own(Shape.Channels), noisy = Own(Shape.Channels), mask = Own(1);
        Write(exec, latents, kept.Latents);
        Write(exec, unit, kept.Noise);
        Write(exec, mask, kept.Mask);
        return new PartKeeper(exec, latents.Tensor, unit.Tensor, noisy.Tensor, mask.Tensor);
    }

    private DeviceTensor Own(int channels)
    {
        var tensor = new DeviceTensor(Parts.Device, DType.Float32, Shape.Images, Shape.Height, Shape.Width, channels);
        _owned.Add(tensor);
        return tensor;
    }

    private void RequireFinite(Exec exec, DeviceTensor latents, string when) =>
        scope.RequireFinite(exec, latents.Tensor, "the UNet's latents", Parts.Unet.ActivationDType, when);

    private static void Write(Exec exec, DeviceTensor target, FloatTensor values) => exec.Write<float>(target.Tensor, values.ToChannelsLast());

    private static FloatTensor Read(Exec exec, DeviceTensor source)
    {
        Tensor tensor = source.Tensor;
        var values = new float[tensor.Count];
        exec.Read<float>(tensor, values);
        return FloatTensor.FromChannelsLast(values, (int)tensor[0], (int)tensor[3], (int)tensor[1], (int)tensor[2]);
    }

    /// <summary>Puts the part of a picture that stays back into the latents, with the noise that the next step expects; after the last step, without.</summary>
    private sealed class PartKeeper(Exec exec, Tensor kept, Tensor unit, Tensor noisy, Tensor mask)
    {
        public void PutBack(Tensor latents, (double Signal, double Noise) level)
        {
            exec.LinearCombination(noisy, [kept, unit], [level.Signal, level.Noise]);
            exec.Blend(latents, noisy, latents, mask);
        }
    }
}
