using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Decodes a latent in overlapping tiles whose seams are blended, which needs the memory of one tile only. As diffusers' tiled_decode, with
/// tiles of 512 pixels that overlap by a quarter; the norms see one tile at a time, so the picture differs a little from that of one piece.
/// </summary>
internal static class TiledDecoder
{
    private const int TilePixels = 512;
    private const double Overlap = 0.25;
    private const int Channels = 3;

    /// <summary>Side of a tile in latents: diffusers' tile_latent_min_size.</summary>
    public static int TileLatents(AutoencoderKL vae) => TilePixels / vae.Config.ScaleFactor;

    /// <summary>Whether a latent is larger than a tile.</summary>
    public static bool Divides(AutoencoderKL vae, int height, int width) => Math.Max(height, width) > TileLatents(vae);

    /// <summary>Number of tiles of a latent.</summary>
    public static int CountTiles(AutoencoderKL vae, int height, int width)
    {
        int stride = Stride(vae);
        return ((height + stride - 1) / stride) * ((width + stride - 1) / stride);
    }

    /// <summary>Decodes a latent <c>[1,C,h,w]</c>, already divided by the scaling factor, to RGB bytes <c>[H,W,3]</c>.</summary>
    /// <param name="exec">Its arena holds one tile.</param>
    /// <param name="vae">The auto-encoder.</param>
    /// <param name="latent">The latent.</param>
    /// <param name="check">Sees each decoded tile.</param>
    public static byte[] Decode(Exec exec, AutoencoderKL vae, FloatTensor latent, Action<Tensor> check)
    {
        int height = latent[2], width = latent[3], scale = vae.Config.ScaleFactor, stride = Stride(vae);
        int keep = stride * scale, blend = TilePixels - keep;
        var pixels = new byte[height * scale * width * scale * Channels];
        Tile.Join(height, width, stride, blend, (top, left) => Tile.Compute(exec, latent, top, left, TileLatents(vae), z => vae.Decode(exec, z), check),
            (tile, row, column) => Write(tile, pixels, width * scale, row * keep, column * keep, keep));
        return pixels;
    }

    private static int Stride(AutoencoderKL vae) => (int)(TileLatents(vae) * (1 - Overlap));

    /// <summary>Writes the upper left <paramref name="keep"/> rows and columns as bytes: the rest belongs to the tiles that follow.</summary>
    private static void Write(Tile tile, byte[] pixels, int imageWidth, int top, int left, int keep)
    {
        int rows = Math.Min(keep, tile.Height), count = Math.Min(keep, tile.Width) * Channels;
        for (int y = 0; y < rows; y++)
        {
            int from = y * tile.Width * Channels, to = (((top + y) * imageWidth) + left) * Channels;
            for (int i = 0; i < count; i++)
            {
                pixels[to + i] = (byte)MathF.Round(255 * Math.Clamp((tile.Values[from + i] / 2) + 0.5f, 0, 1));
            }
        }
    }
}
