using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Pixels to latents, one picture at a time, which needs the least memory. Each picture is encoded once, whatever number of images start from it;
/// random numbers are drawn in diffusers' order.
/// </summary>
/// <param name="scope">Of the generation.</param>
/// <param name="exec">Its arena holds what the plan says.</param>
/// <param name="noise">Draws samples of the encoder's distribution.</param>
/// <param name="tiled">Whether it works tile by tile.</param>
internal sealed class LatentEncoder(GenerationScope scope, Exec exec, NoiseSource noise, bool tiled)
{
    private double ScalingFactor => scope.Parts.Vae.Config.ScalingFactor;

    /// <summary>The most likely latents, <c>[P,C,h,w]</c>, not multiplied by scaling_factor. diffusers: retrieve_latents(sample_mode="argmax").</summary>
    /// <param name="pixels"><c>[P,3,H,W]</c> of -1..1.</param>
    public FloatTensor Mode(FloatTensor pixels) => FloatTensor.Concat([.. Encode(pixels).Select(one => ToTensor(one, one.Mode()))]);

    /// <summary>A sample of the encoder's distribution times scaling_factor.</summary>
    /// <param name="pixels"><c>[P,3,H,W]</c> of -1..1.</param>
    /// <param name="samples">How many: the pictures in turn, each sample with numbers of its own.</param>
    /// <returns><c>[samples,C,h,w]</c>.</returns>
    public FloatTensor Sample(FloatTensor pixels, int samples)
    {
        LatentDistribution[] encoded = Encode(pixels);
        FloatTensor drawn = noise.Draw(samples, encoded[0].Shape[3], encoded[0].Shape[1], encoded[0].Shape[2]);
        FloatTensor[] latents = [.. Enumerable.Range(0, samples).Select(i =>
        {
            LatentDistribution one = encoded[i % encoded.Length];
            return ToTensor(one, one.Sample(drawn.Slice(i, 1).ToChannelsLast()));
        })];
        return FloatTensor.Concat(latents).Scale(ScalingFactor);
    }

    private static FloatTensor ToTensor(LatentDistribution one, float[] values) => FloatTensor.FromChannelsLast(values, 1, one.Shape[3], one.Shape[1], one.Shape[2]);

    private LatentDistribution[] Encode(FloatTensor pixels) => [.. Enumerable.Range(0, pixels[0]).Select(i =>
    {
        scope.Where = $"encoding, picture {i + 1} of {pixels[0]}";
        LatentDistribution encoded = EncodeOne(pixels.Slice(i, 1));
        scope.Meter.PictureDone();
        return encoded;
    })];

    private LatentDistribution EncodeOne(FloatTensor picture)
    {
        AutoencoderKL vae = scope.Parts.Vae;
        void Check(Tensor moments) => scope.RequireFinite(exec, moments, "the VAE encoder's latents", vae.ActivationDType, scope.Where);
        if (tiled)
        {
            return TiledEncoder.Encode(exec, vae, picture, Check);
        }
        using Tensor pixels = exec.Upload<float>(picture.ToChannelsLast(), DType.Float32, 1, picture[2], picture[3], picture[1]);
        using Tensor moments = vae.EncodeMoments(exec, pixels);
        Check(moments);
        using Tensor single = exec.Converted(moments, DType.Float32);
        var values = new float[single.Count];
        exec.Read<float>(single, values);
        return new LatentDistribution(values, 1, (int)single[1], (int)single[2], vae.Config.LatentChannels);
    }
}
