using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Asks a UNet whether it predicts the noise or v. At the last timestep there is hardly any signal, so what predicts the noise gives back what it
/// was given, while v there is about minus the picture that the model sees in it: for an input of 0.5 everywhere the published SD 2 models that
/// predict v answer far below it. The question, with its threshold, is that of the web UI of AUTOMATIC1111 and of stable-diffusion.cpp.
/// diffusers looks at the count of training steps in the file instead, which copies without optimizer or averages have lost.
/// </summary>
internal static class PredictionProbe
{
    /// <summary>
    /// Cells of the latent's side: the smallest that leaves one on the lowest of SD's four levels. The threshold was found at this size; the answer
    /// is a mean over all cells, and only its sign and rough size matter.
    /// </summary>
    private const int Side = 8;

    private const int Tokens = 2;
    private const float Value = 0.5f;
    private const float LastTimestep = 999;
    private const double Threshold = -1;

    /// <summary>Runs the UNet once on the smallest picture.</summary>
    public static PredictionType Ask(UNet2DConditionModel unet, Device device)
    {
        UnetConfig config = unet.Config;
        FloatTensor sample = Filled(1, config.InChannels, Side, Side), context = Filled(1, Tokens, config.CrossAttentionDim[0]);
        FloatTensor answer = unet.Predict(device, sample, LastTimestep, context);
        // What is not finite, as fp16 may become, says nothing: then the noise, which most models predict.
        double mean = answer.Values.Average(value => (double)value) - Value;
        return mean < Threshold ? PredictionType.VPrediction : PredictionType.Epsilon;
    }

    private static FloatTensor Filled(params int[] shape)
    {
        var tensor = new FloatTensor(shape);
        tensor.Values.AsSpan().Fill(Value);
        return tensor;
    }
}
