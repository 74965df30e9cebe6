using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.Vae;

/// <summary>
/// The autoencoder of latent diffusion (Rombach et al. 2021, arXiv 2112.10752), equivalent to diffusers' <c>AutoencoderKL</c>: images to
/// latents an eighth their size, and back. Thread-safe.
/// </summary>
public sealed class AutoencoderKL : Layer
{
    private readonly Encoder encoder;
    private readonly Decoder decoder;
    private readonly Conv2d? quant_conv;
    private readonly Conv2d? post_quant_conv;

    /// <summary>Declares it; <see cref="LayerBuilder.Load"/> makes it usable.</summary>
    public AutoencoderKL(LayerBuilder builder, VaeConfig config) : base(builder)
    {
        Config = config ?? throw new ArgumentNullException(nameof(config));
        encoder = new Encoder(builder["encoder"], config);
        decoder = new Decoder(builder["decoder"], config);
        int moments = 2 * config.LatentChannels;
        quant_conv = config.UseQuantConv ? new Conv2d(builder["quant_conv"], moments, moments, kernel: 1) : null;
        post_quant_conv = config.UsePostQuantConv
            ? new Conv2d(builder["post_quant_conv"], config.LatentChannels, config.LatentChannels, kernel: 1)
            : null;
    }

    /// <summary>Loads a component's folder: <c>config.json</c> and its weights.</summary>
    /// <param name="folder">The folder, such as <c>vae</c>.</param>
    /// <param name="device">Where the weights go.</param>
    /// <param name="storage">How they are kept: Float32, Float16 or BFloat16.</param>
    /// <param name="variant">diffusers' <c>variant</c>, as for <see cref="WeightFolder.Open"/>.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="InvalidConfigException">The config cannot be used.</exception>
    /// <exception cref="InvalidWeightsException">The weights cannot be used.</exception>
    public static AutoencoderKL Load(string folder, Device device, DType storage = DType.Float32, string? variant = null, CancellationToken cancellation = default)
    {
        VaeConfig config = VaeConfig.Read(folder);
        return ModelLoader.Load(folder, variant, device, storage, builder => new AutoencoderKL(builder, config), [], cancellation);
    }

    /// <summary>Loads it from any source of weights.</summary>
    /// <exception cref="InvalidWeightsException">The weights cannot be used.</exception>
    public static AutoencoderKL Load(VaeConfig config, IWeightSource source, Device device, DType storage = DType.Float32, CancellationToken cancellation = default) =>
        ModelLoader.Load(source, device, storage, builder => new AutoencoderKL(builder, config), [], cancellation);

    /// <summary>The facts it was built from.</summary>
    public VaeConfig Config { get; }

    /// <summary>An image <c>[B,H,W,3]</c> of values in -1..1 to the distribution of its latent.</summary>
    /// <remarks>Waits for the device. While measuring, the distribution is all zero.</remarks>
    public LatentDistribution Encode(Exec exec, Tensor image)
    {
        Tensor moments = EncodeMoments(exec, image);
        Tensor single = exec.Converted(moments, DType.Float32);
        var values = new float[moments.Count];
        exec.Read(single, values.AsSpan());
        single.Dispose();
        var distribution = new LatentDistribution(values, (int)moments[0], (int)moments[1], (int)moments[2], Config.LatentChannels);
        moments.Dispose();
        return distribution;
    }

    /// <summary>
    /// An image <c>[B,H,W,3]</c> of any floating type to the raw moments of its latent <c>[B,H/8,W/8,2*latent]</c>, sides rounded down, in
    /// <see cref="Layer.ActivationDType"/>.
    /// </summary>
    public Tensor EncodeMoments(Exec exec, Tensor image)
    {
        CheckChannels(image, Config.InChannels, "An image to encode");
        if (image[1] < Config.ScaleFactor || image[2] < Config.ScaleFactor)
        {
            throw new ArgumentException($"An image to encode is {image[1]}x{image[2]} pixels, but its sides must be at least {Config.ScaleFactor}.", nameof(image));
        }
        Tensor pixels = exec.Converted(image, ActivationDType);
        Tensor hidden = encoder.Forward(exec, pixels);
        pixels.Dispose();
        if (quant_conv is null)
        {
            return hidden;
        }
        Tensor moments = quant_conv.Forward(exec, hidden);
        hidden.Dispose();
        return moments;
    }

    /// <summary>
    /// A latent <c>[B,h,w,latent]</c> of any floating type, already divided by the scaling factor, to an image <c>[B,8h,8w,3]</c>, about -1..1, in
    /// <see cref="Layer.ActivationDType"/>.
    /// </summary>
    public Tensor Decode(Exec exec, Tensor latent)
    {
        CheckChannels(latent, Config.LatentChannels, "A latent to decode");
        Tensor hidden = exec.Converted(latent, ActivationDType);
        if (post_quant_conv is not null)
        {
            Tensor converted = hidden;
            hidden = post_quant_conv.Forward(exec, converted);
            converted.Dispose();
        }
        Tensor image = decoder.Forward(exec, hidden);
        hidden.Dispose();
        return image;
    }

    private static void CheckChannels(Tensor tensor, int channels, string what)
    {
        if (tensor.Rank != 4 || tensor[3] != channels)
        {
            throw new ArgumentException($"{what} must be [B,H,W,{channels}], not {tensor}.", nameof(tensor));
        }
    }
}
