using StableDiffusion.Models.Vae;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Encodes a picture in overlapping tiles whose moments are blended, which needs the memory of one tile only. As diffusers' tiled_encode, with
/// tiles of 512 pixels that overlap by a quarter; the norms see one tile at a time, so the latents differ a little from those of one piece.
/// </summary>
internal static class TiledEncoder
{
    /// <summary>Side of a tile in pixels: diffusers' tile_sample_min_size.</summary>
    public const int TilePixels = 512;

    private const int Stride = TilePixels * 3 / 4;

    /// <summary>Whether a picture is larger than a tile.</summary>
    public static bool Divides(int height, int width) => Math.Max(height, width) > TilePixels;

    /// <summary>Sides of the tiles of a picture, for the arithmetic they take.</summary>
    public static IEnumerable<(int Height, int Width)> Tiles(int height, int width)
    {
        for (int y = 0; y < height; y += Stride)
        {
            for (int x = 0; x < width; x += Stride)
            {
                yield return (Math.Min(TilePixels, height - y), Math.Min(TilePixels, width - x));
            }
        }
    }

    /// <summary>Encodes a picture <c>[1,3,H,W]</c> of -1..1.</summary>
    /// <param name="exec">Its arena holds one tile.</param>
    /// <param name="vae">The auto-encoder.</param>
    /// <param name="picture">The picture.</param>
    /// <param name="check">Sees the moments of each tile.</param>
    public static LatentDistribution Encode(Exec exec, AutoencoderKL vae, FloatTensor picture, Action<Tensor> check)
    {
        int scale = vae.Config.ScaleFactor, height = picture[2] / scale, width = picture[3] / scale, channels = 2 * vae.Config.LatentChannels;
        // Tiles begin every 3/4 tile; of each, as many latents as that are kept, and a quarter tile fades.
        int keep = Stride / scale, blend = (TilePixels / scale) - keep;
        var moments = new float[height * width * channels];
        Tile.Join(picture[2], picture[3], Stride, blend, (top, left) => Tile.Compute(exec, picture, top, left, TilePixels, pixels => vae.EncodeMoments(exec, pixels), check), (tile, row, column) =>
        {
            int rows = Math.Min(keep, tile.Height), count = Math.Min(keep, tile.Width) * channels;
            for (int y = 0; y < rows; y++)
            {
                tile.Values.AsSpan(y * tile.Width * channels, count).CopyTo(moments.AsSpan(((((row * keep) + y) * width) + (column * keep)) * channels));
            }
        });
        return new LatentDistribution(moments, 1, height, width, vae.Config.LatentChannels);
    }
}
