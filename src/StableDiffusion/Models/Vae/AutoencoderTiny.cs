using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.Vae;

/// <summary>
/// TAESD (github.com/madebyollin/taesd), equivalent to diffusers' <c>AutoencoderTiny</c>: a distilled autoencoder that does in a moment what
/// <see cref="AutoencoderKL"/> does well, for previews. It takes and gives the UNet's own latents, with no scaling factor. Thread-safe.
/// </summary>
public sealed class AutoencoderTiny : Layer
{
    private readonly EncoderTiny? encoder;
    private readonly DecoderTiny? decoder;

    /// <summary>
    /// Declares what the weights have of it, which may be one half: by the names of diffusers (<c>encoder.layers.0</c>, <c>decoder.layers.0</c>), or
    /// by those of the original files, each of which has one half with its layers numbered (the encoder's from 0, the decoder's from 1).
    /// <see cref="LayerBuilder.Load"/> makes it usable.
    /// </summary>
    /// <exception cref="InvalidWeightsException">The weights have nothing of it.</exception>
    public AutoencoderTiny(LayerBuilder builder, AutoencoderTinyConfig config) : base(builder)
    {
        Config = config ?? throw new ArgumentNullException(nameof(config));
        WeightScope root = builder.Scope, encoding = root["encoder"]["layers"], decoding = root["decoder"]["layers"];
        bool encodes = encoding.Exists, decodes = decoding.Exists, named = encodes || decodes;
        if (named ? encodes : root[0].Exists)
        {
            encoder = new EncoderTiny(builder["encoder"], config, named ? encoding : root);
        }
        if (named ? decodes : encoder is null && root[1].Exists)
        {
            decoder = new DecoderTiny(builder["decoder"], config, named ? decoding : root, first: named ? 0 : 1);
        }
        if (encoder is null && decoder is null)
        {
            throw new InvalidWeightsException($"'{root.Location}' is no tiny autoencoder: it has neither \"encoder.layers\" and \"decoder.layers\", as diffusers names "
                + "them, nor numbered layers, as taesd_decoder and taesd_encoder have them.");
        }
    }

    /// <summary>Loads a folder in the diffusers layout (<c>config.json</c> and its weights), or one file: diffusers' weights, or one half as TAESD's author publishes it.</summary>
    /// <param name="path">The folder, or a file such as <c>taesd_decoder.safetensors</c> or <c>taesdxl_decoder.pth</c>.</param>
    /// <param name="device">Where the weights go.</param>
    /// <param name="storage">How they are kept: Float32, Float16 or BFloat16.</param>
    /// <param name="variant">diffusers' <c>variant</c>, as for <see cref="WeightFolder.Open"/>; of a folder only.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="InvalidConfigException">The config cannot be used.</exception>
    /// <exception cref="InvalidWeightsException">The weights cannot be used, or there are none.</exception>
    public static AutoencoderTiny Load(string path, Device device, DType storage = DType.Float32, string? variant = null, CancellationToken cancellation = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (Directory.Exists(path))
        {
            AutoencoderTinyConfig config = AutoencoderTinyConfig.Read(path);
            return ModelLoader.Load(path, variant, device, storage, builder => new AutoencoderTiny(builder, config), [], cancellation);
        }
        using IWeightSource source = WeightFile.Open(path);
        return Load(AutoencoderTinyConfig.Of(source), source, device, storage, cancellation);
    }

    /// <summary>Loads it from any source of weights.</summary>
    /// <exception cref="InvalidWeightsException">The weights cannot be used.</exception>
    public static AutoencoderTiny Load(AutoencoderTinyConfig config, IWeightSource source, Device device, DType storage = DType.Float32, CancellationToken cancellation = default) =>
        ModelLoader.Load(source, device, storage, builder => new AutoencoderTiny(builder, config), [], cancellation);

    /// <summary>The facts it was built from.</summary>
    public AutoencoderTinyConfig Config { get; }

    /// <summary>Whether it can encode: a decoder's file alone cannot.</summary>
    public bool HasEncoder => encoder is not null;

    /// <summary>Whether it can decode: an encoder's file alone cannot.</summary>
    public bool HasDecoder => decoder is not null;

    /// <summary>
    /// An image <c>[B,H,W,3]</c> of any floating type, values in -1..1, to its latent <c>[B,H/8,W/8,latent]</c>, sides rounded up, in
    /// <see cref="Layer.ActivationDType"/>; still to be multiplied by the scaling factor, which is 1.
    /// </summary>
    /// <exception cref="InvalidOperationException">There is no encoder.</exception>
    public Tensor Encode(Exec exec, Tensor image)
    {
        EncoderTiny part = encoder ?? throw new InvalidOperationException("This tiny autoencoder was loaded from a decoder's file and has no encoder.");
        CheckChannels(image, Config.InChannels, "An image to encode");
        return part.Forward(exec, Affine(exec, image, 0.5, 0.5));
    }

    /// <summary>
    /// A latent <c>[B,h,w,latent]</c> of any floating type, already divided by the scaling factor, to an image <c>[B,8h,8w,3]</c>, about -1..1, in
    /// <see cref="Layer.ActivationDType"/>.
    /// </summary>
    /// <exception cref="InvalidOperationException">There is no decoder.</exception>
    public Tensor Decode(Exec exec, Tensor latent)
    {
        DecoderTiny part = decoder ?? throw new InvalidOperationException("This tiny autoencoder was loaded from an encoder's file and has no decoder.");
        CheckChannels(latent, Config.LatentChannels, "A latent to decode");
        // 3 tanh(x / 3): nothing that it was not trained for comes in.
        using Tensor held = exec.Alloc(DType.Float32, latent.Shape);
        exec.LinearCombination(held, [latent], [1.0 / 3]);
        exec.Activate(held, held, Activation.Tanh);
        exec.LinearCombination(held, [held], [3]);
        using Tensor image = part.Forward(exec, exec.Contiguous(held, ActivationDType));
        return Affine(exec, image, 2, -1);
    }

    /// <summary>scale * x + shift, in the activations' type.</summary>
    private Tensor Affine(Exec exec, Tensor x, double scale, double shift)
    {
        using Tensor pixels = exec.Converted(x, ActivationDType);
        Tensor result = exec.Alloc(ActivationDType, x.Shape);
        using Tensor one = exec.Upload<float>([1], DType.Float32, 1, 1, 1, 1);
        exec.Copy(result, one.Expand(x.Shape));
        exec.LinearCombination(result, [pixels, result], [scale, shift]);
        return result;
    }

    private static void CheckChannels(Tensor tensor, int channels, string what)
    {
        if (tensor.Rank != 4 || tensor[3] != channels)
        {
            throw new ArgumentException($"{what} must be [B,H,W,{channels}], not {tensor}.", nameof(tensor));
        }
    }
}
