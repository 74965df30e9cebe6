using StableDiffusion.Imaging;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// One generation, from embeddings to pixels: everything mutable lives here. The denoise loop is the one of Ho et al. 2020
/// (arXiv 2006.11239) with classifier-free guidance (arXiv 2207.12598), in the order diffusers' pipelines have.
/// </summary>
internal sealed class Generation : IDisposable
{
    private readonly PipelineComponents _parts;
    private readonly GenerationRequest _request;
    private readonly MemoryPlan _plan;
    private readonly Exec _exec;
    private readonly ProgressMeter _meter;
    private readonly NoiseSource _noise;
    private readonly List<IDisposable> _owned = [];

    public Generation(PipelineComponents parts, GenerationRequest request, MemoryPlan plan, NoiseSource noise, ProgressMeter meter, CancellationToken cancellation)
    {
        (_parts, _request, _plan, _noise, _meter) = (parts, request, plan, noise, meter);
        _exec = Exec.Create(parts.Device, plan.ArenaBytes);
        _exec.Cancellation = cancellation;
        _exec.OpCompleted = meter.OnOp;
    }

    /// <summary>The exec, for the text encoding that comes before.</summary>
    public Exec Exec => _exec;

    /// <summary>Runs the denoise loop and returns the final latents <c>[B,C,h,w]</c>.</summary>
    /// <param name="embeddings">Of one entry per image.</param>
    /// <param name="run">The schedule.</param>
    public FloatTensor Denoise(PromptEmbeddings embeddings, SchedulerRun run)
    {
        GenerationShape shape = _plan.Shape;
        using var executor = new StepExecutor<DeviceTensor>(new DeviceStepOps(_exec));

        // 1. What stays the same over all steps: cross-attention keys and values, added conditions.
        using UnetContext context = PrepareContext(_exec, _parts.Unet, Context(embeddings),
            _parts.IsXl ? Pooled(embeddings) : null, _parts.IsXl ? TimeIds() : null);

        // 2. Initial noise, drawn in float32 as [B,C,h,w].
        FloatTensor unit = _request.Latents ?? _noise.Draw(shape.Images, shape.Channels, shape.Height, shape.Width);
        DeviceTensor latents = Own(shape.Images), modelInput = Own(shape.UnetBatch), modelOutput = Own(shape.Images), noise = Own(shape.Images);
        Write(latents, unit.Scale(run.InitNoiseSigma));
        int first = run.FirstCall, calls = run.Timesteps.Count;
        _request.StepEnd?.Invoke(new GenerationStep(-1, run.Timesteps[first], () => Read(latents),
            () => throw new InvalidOperationException("there is no model output before the first step")));

        // 3. The loop.
        _meter.Begin(GenerationPhase.Denoising, calls - first);
        for (int call = first; call < calls; call++)
        {
            ScaleModelInput(modelInput, latents, run.InputScale(call));
            using (Tensor prediction = _parts.Unet.Forward(_exec, modelInput.Tensor, [run.Timesteps[call]], context))
            {
                Guide(modelOutput, prediction);
            }
            StepProgram program = run.Step(call);
            if (program.DrawsNoise)
            {
                Write(noise, _noise.Draw(shape.Images, shape.Channels, shape.Height, shape.Width));
            }
            executor.Execute(program, latents, modelOutput, noise);
            RequireFinite(latents.Tensor, "the UNet's latents", $"step {call - first + 1}");
            _meter.StepDone(_exec);
            _request.StepEnd?.Invoke(new GenerationStep(call - first, run.Timesteps[call], () => Read(latents), () => Read(modelOutput)));
        }
        return Read(latents);
    }

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
    public static Tensor DecodePixels(Exec exec, AutoencoderKL vae, Tensor latent, Action<Tensor>? check = null)
    {
        using Tensor decoded = vae.Decode(exec, latent);
        check?.Invoke(decoded);
        return exec.ImageToUInt8(decoded);
    }

    /// <summary>Decodes latents <c>[B,C,h,w]</c> one image at a time, which needs the least memory.</summary>
    public IReadOnlyList<RgbImage> Decode(FloatTensor latents)
    {
        _meter.Begin(GenerationPhase.Decoding, 0);
        var images = new List<RgbImage>();
        try
        {
            for (int i = 0; i < latents[0]; i++)
            {
                FloatTensor one = latents.Slice(i, 1).Scale(1.0 / _parts.Vae.Config.ScalingFactor);
                using Tensor z = _exec.Upload<float>(one.ToChannelsLast(), DType.Float32, 1, one[2], one[3], one[1]);
                using Tensor pixels = DecodePixels(_exec, _parts.Vae, z,
                    decoded => RequireFinite(decoded, "the VAE decoder's pixels", $"image {images.Count + 1}"));
                var bytes = new byte[pixels.Bytes];
                _exec.Read<byte>(pixels, bytes);
                images.Add(new RgbImage((int)pixels[2], (int)pixels[1], bytes));
            }
        }
        catch
        {
            images.ForEach(image => image.Dispose());
            throw;
        }
        return images;
    }

    public void Dispose()
    {
        _owned.ForEach(owned => owned.Dispose());
        _exec.Dispose();
    }

    /// <summary>The UNet's input: the latents times the scheduler's factor, once per half of the guidance batch (negative first).</summary>
    private void ScaleModelInput(DeviceTensor modelInput, DeviceTensor latents, double scale)
    {
        int images = _plan.Shape.Images;
        for (int half = 0; half < _plan.Shape.UnetBatch / images; half++)
        {
            _exec.LinearCombination(modelInput.Tensor.Slice(0, half * images, images), [latents.Tensor], [scale]);
        }
    }

    /// <summary>output = negative + scale * (positive - negative), then diffusers' guidance rescale.</summary>
    private void Guide(DeviceTensor output, Tensor prediction)
    {
        int images = _plan.Shape.Images;
        if (!_plan.Shape.Guided)
        {
            _exec.Copy(output.Tensor, prediction);
            return;
        }
        double scale = _plan.Shape.GuidanceScale;
        Tensor negative = prediction.Slice(0, 0, images), positive = prediction.Slice(0, images, images);
        _exec.LinearCombination(output.Tensor, [negative, positive], [1 - scale, scale]);
        if (_request.GuidanceRescale > 0)
        {
            _exec.RescaleGuidance(output.Tensor, output.Tensor, positive, (float)_request.GuidanceRescale);
        }
    }

    private FloatTensor Context(PromptEmbeddings embeddings) =>
        _plan.Shape.Guided ? FloatTensor.Concat(embeddings.Negative!, embeddings.Prompt) : embeddings.Prompt;

    private FloatTensor Pooled(PromptEmbeddings embeddings) =>
        _plan.Shape.Guided ? FloatTensor.Concat(embeddings.NegativePooled!, embeddings.Pooled!) : embeddings.Pooled!;

    /// <summary>SDXL's micro-conditioning: original size, crop corner, target size per entry of the UNet's batch.</summary>
    private FloatTensor TimeIds()
    {
        GenerationShape shape = _plan.Shape;
        (int, int) size = (shape.ImageHeight, shape.ImageWidth);
        float[] positive = TimeIds(_request.OriginalSize ?? size, _request.CropTopLeft, _request.TargetSize ?? size);
        // As in diffusers: the negative half has sizes of its own only when both are given.
        float[] negative = _request is { NegativeOriginalSize: { } original, NegativeTargetSize: { } target }
            ? TimeIds(original, _request.NegativeCropTopLeft ?? (0, 0), target)
            : positive;
        IEnumerable<float[]> rows = Enumerable.Repeat(negative, shape.UnetBatch - shape.Images).Concat(Enumerable.Repeat(positive, shape.Images));
        return new FloatTensor([.. rows.SelectMany(row => row)], shape.UnetBatch, positive.Length);
    }

    private static float[] TimeIds((int, int) original, (int, int) crop, (int, int) target) =>
        [original.Item1, original.Item2, crop.Item1, crop.Item2, target.Item1, target.Item2];

    private static Tensor Upload(Exec exec, FloatTensor values) =>
        exec.Upload<float>(values.Values, DType.Float32, [.. values.Shape.Select(side => (long)side)]);

    private DeviceTensor Own(int batch)
    {
        var tensor = new DeviceTensor(_parts.Device, DType.Float32, batch, _plan.Shape.Height, _plan.Shape.Width, _plan.Shape.Channels);
        _owned.Add(tensor);
        return tensor;
    }

    private void Write(DeviceTensor target, FloatTensor values) => _exec.Write<float>(target.Tensor, values.ToChannelsLast());

    private FloatTensor Read(DeviceTensor source)
    {
        Tensor tensor = source.Tensor;
        var values = new float[tensor.Count];
        _exec.Read<float>(tensor, values);
        return FloatTensor.FromChannelsLast(values, (int)tensor[0], (int)tensor[3], (int)tensor[1], (int)tensor[2]);
    }

    private void RequireFinite(Tensor tensor, string what, string when)
    {
        if (!_exec.IsFinite(tensor))
        {
            throw new NonFiniteException($"{what} are not finite after {when} ({_parts.DTypeName} weights on {_parts.Device}). "
                + "Try --dtype fp32, another scheduler or a lower guidance scale; damaged weights also do this.");
        }
    }
}
