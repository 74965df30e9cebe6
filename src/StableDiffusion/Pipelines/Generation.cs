using StableDiffusion.Imaging;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// One generation, from prompts to pixels: everything mutable lives here. The denoise loop is the one of Ho et al. 2020
/// (arXiv 2006.11239) with classifier-free guidance (arXiv 2207.12598), in the order diffusers' pipelines have.
/// </summary>
internal sealed class Generation(
    PipelineComponents parts, GenerationRequest request, MemoryPlan plan, NoiseSource noise, ProgressMeter meter, CancellationToken cancellation) : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly List<string> _warnings = [];
    private string _where = "";

    /// <summary>What the user should know, one sentence each.</summary>
    public IReadOnlyList<string> Warnings => _warnings;

    /// <summary>Whether ops are queued: then the UNet is a graph, and what waits for the device is done as rarely as possible.</summary>
    private bool IsQueued => parts.Device.WorksBehindCalls;

    /// <summary>Runs the text encoders, by a function that is given an exec for them.</summary>
    public PromptEmbeddings Encode(Func<Exec, PromptEmbeddings> encode)
    {
        meter.Begin(GenerationPhase.TextEncoding, 0);
        _where = "text encoding";
        return NamingFaults(() =>
        {
            using Exec exec = NewExec(plan.Text.Bytes);
            return encode(exec);
        });
    }

    /// <summary>Runs the denoise loop and returns the final latents <c>[B,C,h,w]</c>.</summary>
    /// <param name="embeddings">Of one entry per image.</param>
    /// <param name="run">The schedule.</param>
    public FloatTensor Denoise(PromptEmbeddings embeddings, SchedulerRun run)
    {
        _where = "preparing the UNet";
        return NamingFaults(() =>
        {
            using Exec exec = NewExec(plan.Denoise.Bytes);
            // 1. What stays the same over all steps: cross-attention keys and values, added conditions.
            UnetContext context = PrepareContext(exec, parts.Unet, Context(embeddings),
                parts.IsXl ? Pooled(embeddings) : null, parts.IsXl ? TimeIds() : null);
            if (!IsQueued)
            {
                using var eager = new EagerDenoiser(exec, parts.Unet, context, plan.Shape);
                return Denoise(exec, eager, run);
            }
            using var graph = new GraphDenoiser(exec, parts, context, plan);
            context.Dispose();
            return Denoise(exec, graph, run);
        });
    }

    /// <summary>Decodes latents <c>[B,C,h,w]</c> one image at a time, which needs the least memory.</summary>
    /// <exception cref="GenerationOutOfMemoryException">The memory that was planned for is gone; it has the latents.</exception>
    public IReadOnlyList<RgbImage> Decode(FloatTensor latents)
    {
        meter.Begin(GenerationPhase.Decoding, 0);
        if (plan.Tiled)
        {
            WarnOfTiles();
            return NamingFaults(() => Decode(latents, tiled: true));
        }
        try
        {
            return NamingFaults(() => Decode(latents, tiled: false));
        }
        catch (OutOfDeviceMemoryException) when (plan.Tile != plan.Decode)
        {
            WarnOfTiles();
            return NamingFaults(() => Decode(latents, tiled: true));
        }
    }

    public void Dispose() => _owned.ForEach(owned => owned.Dispose());

    /// <summary>Uploads embeddings and computes what depends on them alone. Also run in measure mode, by the plan.</summary>
    public static UnetContext PrepareContext(Exec exec, UNet2DConditionModel unet, FloatTensor embeddings, FloatTensor? pooled, FloatTensor? timeIds)
    {
        using Tensor tokens = Upload(exec, embeddings);
        if (pooled is null || timeIds is null)
        {
            return unet.PrepareContext(exec, tokens);
        }
        using Tensor text = Upload(exec, pooled), sizes = Upload(exec, timeIds);
        return unet.PrepareContext(exec, tokens, new AddedConditions(text, sizes));
    }

    /// <summary>Decodes a latent <c>[1,h,w,C]</c> to bytes <c>[1,H,W,3]</c>. Also run in measure mode, by the plan.</summary>
    public static Tensor DecodePixels(Exec exec, AutoencoderKL vae, Tensor latent, Action<Tensor> check)
    {
        using Tensor decoded = vae.Decode(exec, latent);
        check(decoded);
        return exec.ImageToUInt8(decoded);
    }

    /// <summary>Every op that a step may call beside the UNet, in measure mode: for the scratch they take.</summary>
    public static void MeasureStep(Exec exec, GenerationShape shape, Tensor prediction)
    {
        using Tensor output = exec.Alloc(DType.Float32, shape.Images, shape.Height, shape.Width, shape.Channels);
        Guide(exec, shape, guidanceRescale: 1, output, prediction);
        exec.DynamicThreshold(output, output, 0.995f, 1);
        exec.Clamp(output, output, -1, 1);
        exec.IsFinite(output);
    }

    private FloatTensor Denoise(Exec exec, IDenoiser denoiser, SchedulerRun run)
    {
        GenerationShape shape = plan.Shape;
        int first = run.FirstCall, calls = run.Timesteps.Count;
        using var executor = new StepExecutor<DeviceTensor>(new DeviceStepOps(exec));

        // 2. Initial noise, drawn in float32 as [B,C,h,w], and all timesteps at once.
        DeviceTensor latents = Own(shape.Images), modelOutput = Own(shape.Images), drawn = Own(shape.Images);
        FloatTensor unit = request.Latents ?? noise.Draw(shape.Images, shape.Channels, shape.Height, shape.Width);
        Write(exec, latents, unit.Scale(run.InitNoiseSigma));
        Tensor timesteps = OwnTimesteps(exec, run);
        request.StepEnd?.Invoke(new GenerationStep(-1, run.Timesteps[first], () => Read(exec, latents),
            () => throw new InvalidOperationException("there is no model output before the first step")));

        // 3. The loop.
        meter.Begin(GenerationPhase.Denoising, calls - first);
        // Looking at values waits for the device, which costs nothing where it does not work behind the calls, or where StepEnd looks anyway.
        bool looksAtEachStep = !IsQueued || request.StepEnd is not null;
        using var window = new StepWindow(parts.Device, _ => meter.StepDone());
        for (int call = first; call < calls; call++)
        {
            _where = $"denoising, step {call - first + 1} of {calls - first}";
            window.WaitUntil(StepWindow.Capacity - 1, cancellation);
            ScaleModelInput(exec, denoiser.Sample, latents, run.InputScale(call));
            exec.Copy(denoiser.Timesteps, timesteps.Slice(0, call, 1).View(shape.UnetBatch));
            Guide(exec, shape, request.GuidanceRescale, modelOutput.Tensor, denoiser.Predict());
            StepProgram program = run.Step(call);
            if (program.DrawsNoise)
            {
                Write(exec, drawn, noise.Draw(shape.Images, shape.Channels, shape.Height, shape.Width));
            }
            executor.Execute(program, latents, modelOutput, drawn);
            if (looksAtEachStep)
            {
                RequireFinite(exec, latents.Tensor, "the UNet's latents", parts.Unet.ActivationDType, $"step {call - first + 1}");
            }
            window.Add(exec, call);
            if (request.StepEnd is not null)
            {
                window.WaitUntil(0, cancellation);
                request.StepEnd(new GenerationStep(call - first, run.Timesteps[call], () => Read(exec, latents), () => Read(exec, modelOutput)));
            }
        }
        window.WaitUntil(0, cancellation);
        if (!looksAtEachStep)
        {
            RequireFinite(exec, latents.Tensor, "the UNet's latents", parts.Unet.ActivationDType, "the last step");
        }
        return Read(exec, latents);
    }

    private List<RgbImage> Decode(FloatTensor latents, bool tiled)
    {
        long bytes = (tiled ? plan.Tile : plan.Decode).Bytes;
        if (bytes > parts.Device.Info.FreeBytes)
        {
            parts.Graphs.Trim();
        }
        var images = new List<RgbImage>();
        try
        {
            using Exec exec = NewExec(bytes);
            for (int i = 0; i < latents[0]; i++)
            {
                _where = $"decoding, image {i + 1} of {latents[0]}";
                images.Add(DecodeOne(exec, latents.Slice(i, 1).Scale(1.0 / parts.Vae.Config.ScalingFactor), tiled));
                meter.ImageDone();
            }
            return images;
        }
        catch (Exception failure)
        {
            images.ForEach(image => image.Dispose());
            if (failure is OutOfDeviceMemoryException)
            {
                throw new GenerationOutOfMemoryException(latents, bytes, parts.Device.Info.FreeBytes, failure);
            }
            throw;
        }
    }

    private RgbImage DecodeOne(Exec exec, FloatTensor latent, bool tiled)
    {
        void Check(Tensor decoded) => RequireFinite(exec, decoded, "the VAE decoder's pixels", parts.Vae.ActivationDType, _where);
        if (tiled)
        {
            return new RgbImage(latent[3] * parts.VaeScale, latent[2] * parts.VaeScale, TiledDecoder.Decode(exec, parts.Vae, latent, Check));
        }
        using Tensor z = exec.Upload<float>(latent.ToChannelsLast(), DType.Float32, 1, latent[2], latent[3], latent[1]);
        using Tensor pixels = DecodePixels(exec, parts.Vae, z, Check);
        var bytes = new byte[pixels.Bytes];
        exec.Read<byte>(pixels, bytes);
        return new RgbImage((int)pixels[2], (int)pixels[1], bytes);
    }

    private void WarnOfTiles() => _warnings.Add(request.VaeTiling
        ? "The picture was decoded in overlapping tiles, as asked for; it differs a little from one decoded in one piece."
        : "The decoder did not fit into memory in one piece, so the picture was decoded in overlapping tiles; it differs a little.");

    /// <summary>The UNet's input: the latents times the scheduler's factor, once per half of the guidance batch (negative first).</summary>
    private void ScaleModelInput(Exec exec, Tensor modelInput, DeviceTensor latents, double scale)
    {
        int images = plan.Shape.Images;
        for (int half = 0; half < plan.Shape.UnetBatch / images; half++)
        {
            exec.LinearCombination(modelInput.Slice(0, half * images, images), [latents.Tensor], [scale]);
        }
    }

    /// <summary>output = negative + scale * (positive - negative) in float32, then diffusers' guidance rescale.</summary>
    private static void Guide(Exec exec, GenerationShape shape, double guidanceRescale, Tensor output, Tensor prediction)
    {
        int images = shape.Images;
        if (!shape.Guided)
        {
            exec.Copy(output, prediction);
            return;
        }
        double scale = shape.GuidanceScale;
        Tensor negative = prediction.Slice(0, 0, images), positive = prediction.Slice(0, images, images);
        exec.LinearCombination(output, [negative, positive], [1 - scale, scale]);
        if (guidanceRescale > 0)
        {
            exec.RescaleGuidance(output, output, positive, (float)guidanceRescale);
        }
    }

    private FloatTensor Context(PromptEmbeddings embeddings) =>
        plan.Shape.Guided ? FloatTensor.Concat(embeddings.Negative!, embeddings.Prompt) : embeddings.Prompt;

    private FloatTensor Pooled(PromptEmbeddings embeddings) =>
        plan.Shape.Guided ? FloatTensor.Concat(embeddings.NegativePooled!, embeddings.Pooled!) : embeddings.Pooled!;

    /// <summary>SDXL's micro-conditioning: original size, crop corner, target size per entry of the UNet's batch.</summary>
    private FloatTensor TimeIds()
    {
        GenerationShape shape = plan.Shape;
        (int, int) size = (shape.ImageHeight, shape.ImageWidth);
        float[] positive = TimeIds(request.OriginalSize ?? size, request.CropTopLeft, request.TargetSize ?? size);
        // As in diffusers: the negative half has sizes of its own only when both are given.
        float[] negative = request is { NegativeOriginalSize: { } original, NegativeTargetSize: { } target }
            ? TimeIds(original, request.NegativeCropTopLeft ?? (0, 0), target)
            : positive;
        IEnumerable<float[]> rows = Enumerable.Repeat(negative, shape.UnetBatch - shape.Images).Concat(Enumerable.Repeat(positive, shape.Images));
        return new FloatTensor([.. rows.SelectMany(row => row)], shape.UnetBatch, positive.Length);
    }

    private static float[] TimeIds((int, int) original, (int, int) crop, (int, int) target) =>
        [original.Item1, original.Item2, crop.Item1, crop.Item2, target.Item1, target.Item2];

    /// <summary>A row of equal timesteps for each call, <c>[calls,B]</c>.</summary>
    private Tensor OwnTimesteps(Exec exec, SchedulerRun run)
    {
        int batch = plan.Shape.UnetBatch;
        var table = new DeviceTensor(parts.Device, DType.Float32, run.Timesteps.Count, batch);
        _owned.Add(table);
        exec.Write<float>(table.Tensor, [.. run.Timesteps.SelectMany(timestep => Enumerable.Repeat(timestep, batch))]);
        return table.Tensor;
    }

    private DeviceTensor Own(int batch)
    {
        var tensor = new DeviceTensor(parts.Device, DType.Float32, batch, plan.Shape.Height, plan.Shape.Width, plan.Shape.Channels);
        _owned.Add(tensor);
        return tensor;
    }

    private Exec NewExec(long bytes)
    {
        Exec exec = Exec.Create(parts.Device, bytes);
        exec.Cancellation = cancellation;
        exec.OpCompleted = meter.OnOp;
        return exec;
    }

    private static Tensor Upload(Exec exec, FloatTensor values) =>
        exec.Upload<float>(values.Values, DType.Float32, [.. values.Shape.Select(side => (long)side)]);

    private static void Write(Exec exec, DeviceTensor target, FloatTensor values) => exec.Write<float>(target.Tensor, values.ToChannelsLast());

    private static FloatTensor Read(Exec exec, DeviceTensor source)
    {
        Tensor tensor = source.Tensor;
        var values = new float[tensor.Count];
        exec.Read<float>(tensor, values);
        return FloatTensor.FromChannelsLast(values, (int)tensor[0], (int)tensor[3], (int)tensor[1], (int)tensor[2]);
    }

    private void RequireFinite(Exec exec, Tensor tensor, string what, DType dtype, string when)
    {
        if (!exec.IsFinite(tensor))
        {
            throw new NonFiniteException($"{what} are not finite after {when} (computed in {dtype} on {parts.Device}). "
                + "Try --dtype fp32, another scheduler or a lower guidance scale; damaged weights also do this.");
        }
    }

    /// <summary>A fault of a device that works behind the calls shows late: say at least in which phase.</summary>
    private T NamingFaults<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (DeviceFaultException fault)
        {
            string advice = IsQueued && !fault.Message.Contains("SDN_CUDA_SYNC", StringComparison.Ordinal) ? "; run again with SDN_CUDA_SYNC=1 to learn which op it was" : "";
            throw new DeviceFaultException($"{fault.Message} (noticed during {_where}{advice})", fault);
        }
    }
}
