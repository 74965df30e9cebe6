using StableDiffusion.Imaging;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// The components one by one, on host tensors in diffusers' layout, for a sampling loop written by hand (docs/manual-loop.md). Each call measures
/// its memory, takes it, computes and gives it back; the pipeline, which keeps everything on the device, is faster.
/// </summary>
public static class ComponentExtensions
{
    /// <summary>Token ids, one array per prompt, to the last hidden state behind the final norm: <c>[B,T,C]</c>, the context of SD 1.x and 2.x.</summary>
    public static FloatTensor Encode(this ClipTextModel encoder, Device device, params IReadOnlyList<int[]> ids) => Run(device, exec =>
    {
        using ClipTextOutput output = encoder.Forward(exec, ids);
        return Read(exec, output.LastHiddenState);
    });

    /// <summary>The UNet's prediction for latents <c>[B,C,h,w]</c>, of the same shape.</summary>
    /// <param name="unet">The model.</param>
    /// <param name="device">The device its weights are on.</param>
    /// <param name="sample">Latents, scaled by the scheduler.</param>
    /// <param name="timestep">The same for all entries.</param>
    /// <param name="context">Text embeddings <c>[B,T,C]</c>.</param>
    /// <param name="textEmbeds">SDXL: pooled text <c>[B,P]</c>.</param>
    /// <param name="timeIds">SDXL: sizes and crop <c>[B,6]</c>.</param>
    /// <param name="timestepCond">Models with time_cond_proj_dim: the guidance embedding <c>[B,D]</c>.</param>
    public static FloatTensor Predict(this UNet2DConditionModel unet, Device device, FloatTensor sample, float timestep, FloatTensor context,
        FloatTensor? textEmbeds = null, FloatTensor? timeIds = null, FloatTensor? timestepCond = null) => Run(device, exec =>
    {
        Tensor x = Upload(exec, sample);
        Tensor tokens = exec.Upload<float>(context.Values, DType.Float32, [.. context.Shape.Select(side => (long)side)]);
        Tensor text = textEmbeds is null ? default : exec.Upload<float>(textEmbeds.Values, DType.Float32, textEmbeds[0], textEmbeds[1]);
        Tensor sizes = timeIds is null ? default : exec.Upload<float>(timeIds.Values, DType.Float32, timeIds[0], timeIds[1]);
        Tensor guidance = timestepCond is null ? default : exec.Upload<float>(timestepCond.Values, DType.Float32, timestepCond[0], timestepCond[1]);
        Tensor prediction = unet.Forward(exec, x, [timestep], tokens, new AddedConditions(text, sizes), guidance);
        FloatTensor result = ReadImage(exec, prediction);
        prediction.Dispose();
        guidance.Dispose();
        sizes.Dispose();
        text.Dispose();
        tokens.Dispose();
        x.Dispose();
        return result;
    });

    /// <summary>Latents <c>[B,C,h,w]</c>, already divided by the scaling factor, to images <c>[B,3,H,W]</c>, about -1..1.</summary>
    public static FloatTensor Decode(this AutoencoderKL vae, Device device, FloatTensor latents) => Run(device, exec =>
    {
        Tensor z = Upload(exec, latents);
        Tensor image = vae.Decode(exec, z);
        FloatTensor result = ReadImage(exec, image);
        image.Dispose();
        z.Dispose();
        return result;
    });

    /// <summary>Images <c>[B,3,H,W]</c> of values in -1..1 to the UNet's latents <c>[B,C,H/8,W/8]</c>, by a tiny autoencoder.</summary>
    public static FloatTensor Encode(this AutoencoderTiny vae, Device device, FloatTensor images) => Run(device, exec =>
    {
        using Tensor pixels = Upload(exec, images);
        using Tensor latents = vae.Encode(exec, pixels);
        return ReadImage(exec, latents);
    });

    /// <summary>The UNet's latents <c>[B,C,h,w]</c> to images <c>[B,3,H,W]</c>, about -1..1, by a tiny autoencoder.</summary>
    public static FloatTensor Decode(this AutoencoderTiny vae, Device device, FloatTensor latents) => Run(device, exec =>
    {
        using Tensor z = Upload(exec, latents);
        using Tensor image = vae.Decode(exec, z);
        return ReadImage(exec, image);
    });

    /// <summary>One latent <c>[1,C,h,w]</c> to a picture.</summary>
    internal static RgbImage Draw(this AutoencoderTiny vae, Device device, FloatTensor latent) => Run(device, exec =>
    {
        using Tensor z = Upload(exec, latent);
        using Tensor pixels = DrawPixels(exec, vae, z);
        var bytes = new byte[pixels.Bytes];
        exec.Read<byte>(pixels, bytes);
        return new RgbImage((int)pixels[2], (int)pixels[1], bytes);
    });

    /// <summary>A latent <c>[1,h,w,C]</c> to bytes <c>[1,H,W,3]</c>. Also run in measure mode, by the plan.</summary>
    internal static Tensor DrawPixels(Exec exec, AutoencoderTiny vae, Tensor latent)
    {
        using Tensor image = vae.Decode(exec, latent);
        return exec.ImageToUInt8(image);
    }

    /// <summary>Runs the work twice: measuring, and then computing in an arena of the measured size.</summary>
    private static T Run<T>(Device device, Func<Exec, T> work)
    {
        long peak;
        using (Exec measuring = Exec.Measure(device))
        {
            work(measuring);
            peak = measuring.Stats.PeakBytes;
        }
        using Exec exec = Exec.Create(device, peak);
        return work(exec);
    }

    private static Tensor Upload(Exec exec, FloatTensor image) =>
        exec.Upload<float>(image.ToChannelsLast(), DType.Float32, image[0], image[2], image[3], image[1]);

    private static FloatTensor ReadImage(Exec exec, Tensor tensor)
    {
        FloatTensor values = Read(exec, tensor);
        return FloatTensor.FromChannelsLast(values.Values, values[0], values[3], values[1], values[2]);
    }

    private static FloatTensor Read(Exec exec, Tensor tensor)
    {
        using Tensor single = exec.Converted(tensor, DType.Float32);
        var values = new float[tensor.Count];
        exec.Read<float>(single, values);
        return new FloatTensor(values, [.. tensor.Shape.Select(side => (int)side)]);
    }
}
