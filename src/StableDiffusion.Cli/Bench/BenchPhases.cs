using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Cli.Bench;

/// <summary>A part of drawing a picture that is timed by itself. The same calls serve for measuring its memory.</summary>
internal abstract class BenchPhase(string name)
{
    internal const string Load = "load";
    internal const string TextEncoder = "text_encoder";
    internal const string UnetStep = "unet_step";
    internal const string VaeDecode = "vae_decode";

    /// <summary>All names, in the order they run; <see cref="Load"/> needs a checkpoint.</summary>
    internal static readonly string[] Names = [Load, TextEncoder, UnetStep, VaeDecode];

    internal string Name { get; } = name;

    /// <summary>Makes the inputs; not timed.</summary>
    internal abstract void Prepare(Exec exec);

    /// <summary>What is timed.</summary>
    internal abstract void Run(Exec exec);

    /// <summary>Whether it moves nothing between host and device, so that it can be captured.</summary>
    internal virtual bool CanBeCaptured => true;

    /// <summary>Frees the inputs.</summary>
    internal abstract void Release();

    /// <summary>Normally distributed inputs, so that activations are as in a real picture.</summary>
    protected static Tensor Noise(Exec exec, params ReadOnlySpan<long> shape)
    {
        var random = new System.Random(0);
        Tensor tensor = exec.Alloc(DType.Float32, shape);
        var values = new float[tensor.Count];
        for (int i = 0; i < values.Length && !exec.IsMeasuring; i++)
        {
            // Box and Muller 1958.
            values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }
        exec.Write<float>(tensor, values);
        return tensor;
    }
}

/// <summary>Two prompts of full length through the text encoder(s), as the pipeline asks them.</summary>
internal sealed class TextEncoderPhase(IReadOnlyList<ClipTextModel> encoders) : BenchPhase(TextEncoder)
{
    private const int Word = 320;

    internal override bool CanBeCaptured => false;

    internal override void Prepare(Exec exec) { }

    internal override void Run(Exec exec)
    {
        // Begin and end of text are the last two of a vocabulary.
        int words = encoders[0].Config.VocabSize - 2;
        int[] prompt = [words, .. Enumerable.Repeat(Math.Min(Word, words - 1), encoders[0].Config.MaxPositionEmbeddings - 2), words + 1];
        foreach (ClipTextModel encoder in encoders)
        {
            // SDXL takes penultimate states, and pooled text from the encoder that has a projection.
            ClipTextRequest? request = encoders.Count == 1 ? null
                : new ClipTextRequest { LastHiddenState = false, HiddenStates = [-2], TextEmbeds = encoder.Config.WithProjection };
            encoder.Forward(exec, [prompt, prompt], request).Dispose();
        }
    }

    internal override void Release() { }
}

/// <summary>One guided step: the UNet on latents that both parts of its batch share, with all ready that depends on prompts and timesteps alone, and the guidance.</summary>
internal sealed class UnetStepPhase(UNet2DConditionModel unet, int batch, int height, int width) : BenchPhase(UnetStep)
{
    private const int Tokens = 77, TimeIds = 6;
    private const float Timestep = 501, GuidanceScale = 7.5f;
    private Tensor _sample;
    private UnetContext? _context;
    private UnetSchedule? _schedule;

    internal override void Prepare(Exec exec)
    {
        UnetConfig config = unet.Config;
        using Tensor states = Noise(exec, 2 * batch, Tokens, config.CrossAttentionDim[0]);
        if (config.AddTextTime)
        {
            using Tensor text = Noise(exec, 2 * batch, config.ProjectionClassEmbeddingsInputDim - (TimeIds * config.AdditionTimeEmbedDim));
            using Tensor sizes = exec.Upload<float>([.. Enumerable.Repeat(1024f, 2 * batch * TimeIds)], DType.Float32, 2 * batch, TimeIds);
            _context = unet.PrepareContext(exec, states, new AddedConditions(text, sizes));
        }
        else
        {
            _context = unet.PrepareContext(exec, states);
        }
        using Tensor noise = Noise(exec, batch, height, width, config.InChannels);
        _sample = exec.Contiguous(noise, unet.ActivationDType);
        _schedule = unet.PrepareSchedule(exec, [Timestep], _context);
    }

    internal override void Run(Exec exec)
    {
        using Tensor prediction = unet.Forward(exec, _sample, _schedule![0], _context!);
        using Tensor guided = exec.Alloc(DType.Float32, batch, height, width, unet.Config.OutChannels);
        exec.LinearCombination(guided, [prediction.Slice(0, 0, batch), prediction.Slice(0, batch, batch)], [1 - GuidanceScale, GuidanceScale]);
    }

    internal override void Release()
    {
        _sample.Dispose();
        _schedule!.Dispose();
        _context!.Dispose();
    }
}

/// <summary>The batch from latents to 8-bit pixels, one picture after another.</summary>
internal sealed class VaeDecodePhase(AutoencoderKL vae, int batch, int height, int width) : BenchPhase(VaeDecode)
{
    private Tensor _latent;

    internal override void Prepare(Exec exec) => _latent = Noise(exec, 1, height, width, vae.Config.LatentChannels);

    internal override void Run(Exec exec)
    {
        for (int i = 0; i < batch; i++)
        {
            using Tensor image = vae.Decode(exec, _latent);
            exec.ImageToUInt8(image).Dispose();
        }
    }

    internal override void Release() => _latent.Dispose();
}
