using StableDiffusion.Imaging;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>Latents to pictures, one image at a time, which needs the least memory; in tiles where the plan says so or memory is gone meanwhile.</summary>
internal sealed class LatentDecoder(GenerationScope scope, MemoryPlan plan, bool tilesAskedFor)
{
    private PipelineComponents Parts => scope.Parts;

    /// <summary>Decodes latents <c>[B,C,h,w]</c>.</summary>
    /// <exception cref="GenerationOutOfMemoryException">The memory that was planned for is gone; it has the latents.</exception>
    public IReadOnlyList<RgbImage> Decode(FloatTensor latents)
    {
        scope.Meter.Begin(GenerationPhase.Decoding);
        if (plan.Tiled)
        {
            WarnOfTiles();
            return scope.NamingFaults(() => Decode(latents, tiled: true));
        }
        try
        {
            return scope.NamingFaults(() => Decode(latents, tiled: false));
        }
        catch (OutOfDeviceMemoryException) when (plan.Tile != plan.Decode)
        {
            WarnOfTiles();
            return scope.NamingFaults(() => Decode(latents, tiled: true));
        }
    }

    /// <summary>Decodes a latent <c>[1,h,w,C]</c> to bytes <c>[1,H,W,3]</c>. Also run in measure mode, by the plan.</summary>
    public static Tensor DecodePixels(Exec exec, AutoencoderKL vae, Tensor latent, Action<Tensor> check)
    {
        using Tensor decoded = vae.Decode(exec, latent);
        check(decoded);
        return exec.ImageToUInt8(decoded);
    }

    private List<RgbImage> Decode(FloatTensor latents, bool tiled)
    {
        long bytes = (tiled ? plan.Tile : plan.Decode).Bytes;
        var images = new List<RgbImage>();
        try
        {
            using Exec exec = scope.NewExec(bytes);
            for (int i = 0; i < latents[0]; i++)
            {
                scope.Where = $"decoding, image {i + 1} of {latents[0]}";
                images.Add(DecodeOne(exec, latents.Slice(i, 1).Scale(1.0 / Parts.Vae.Config.ScalingFactor), tiled));
                scope.Meter.PictureDone();
            }
            return images;
        }
        catch (Exception failure)
        {
            images.ForEach(image => image.Dispose());
            if (failure is OutOfDeviceMemoryException)
            {
                throw new GenerationOutOfMemoryException(latents, bytes, Parts.Device.Info.FreeBytes, failure);
            }
            throw;
        }
    }

    private RgbImage DecodeOne(Exec exec, FloatTensor latent, bool tiled)
    {
        void Check(Tensor decoded) => scope.RequireFinite(exec, decoded, "the VAE decoder's pixels", Parts.Vae.ActivationDType, scope.Where);
        if (tiled)
        {
            return new RgbImage(latent[3] * Parts.VaeScale, latent[2] * Parts.VaeScale, TiledDecoder.Decode(exec, Parts.Vae, latent, Check));
        }
        using Tensor z = exec.Upload<float>(latent.ToChannelsLast(), DType.Float32, 1, latent[2], latent[3], latent[1]);
        using Tensor pixels = DecodePixels(exec, Parts.Vae, z, Check);
        var bytes = new byte[pixels.Bytes];
        exec.Read<byte>(pixels, bytes);
        return new RgbImage((int)pixels[2], (int)pixels[1], bytes);
    }

    private void WarnOfTiles() => scope.Warn(tilesAskedFor
        ? "The picture was decoded in overlapping tiles, as asked for; it differs a little from one decoded in one piece."
        : "The decoder did not fit into memory in one piece, so the picture was decoded in overlapping tiles; it differs a little.");
}
