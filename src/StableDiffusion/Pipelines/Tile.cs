using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>A tile <c>[H,W,C]</c> of a larger image or latent; blending changes it in place, and the tiles after it are blended with the result.</summary>
internal sealed record Tile(int Height, int Width, int Channels, float[] Values)
{
    /// <summary>Fades from the lower rows of the tile above into the upper rows of this one. diffusers: blend_v.</summary>
    public void BlendBelow(Tile above, int extent)
    {
        extent = Math.Min(extent, Math.Min(above.Height, Height));
        for (int y = 0; y < extent; y++)
        {
            Fade(above, above.Height - extent + y, 0, y, 0, Width, y / (float)extent);
        }
    }

    /// <summary>Fades from the right columns of the tile before into the left columns of this one. diffusers: blend_h.</summary>
    public void BlendRightOf(Tile before, int extent)
    {
        extent = Math.Min(extent, Math.Min(before.Width, Width));
        for (int y = 0; y < Height; y++)
        {
            for (int x = 0; x < extent; x++)
            {
                Fade(before, y, before.Width - extent + x, y, x, 1, x / (float)extent);
            }
        }
    }

    /// <summary>Makes a grid of tiles row by row and blends each with those above and before it.</summary>
    /// <param name="height">Of the whole.</param>
    /// <param name="width">Of the whole.</param>
    /// <param name="stride">From a tile's corner to the next one's.</param>
    /// <param name="blend">Rows and columns that are blended.</param>
    /// <param name="make">The tile with a given top and left.</param>
    /// <param name="write">Takes a blended tile, with its row and column in the grid.</param>
    public static void Join(int height, int width, int stride, int blend, Func<int, int, Tile> make, Action<Tile, int, int> write)
    {
        List<Tile> above = [];
        for (int y = 0; y < height; y += stride)
        {
            var row = new List<Tile>();
            for (int x = 0; x < width; x += stride)
            {
                Tile tile = make(y, x);
                if (y > 0)
                {
                    tile.BlendBelow(above[row.Count], blend);
                }
                if (x > 0)
                {
                    tile.BlendRightOf(row[^1], blend);
                }
                row.Add(tile);
                write(tile, y / stride, x / stride);
            }
            above = row;
        }
    }

    /// <summary>Computes one tile of the result from a part of the source.</summary>
    /// <param name="exec">Its arena holds one tile.</param>
    /// <param name="source"><c>[1,C,h,w]</c>.</param>
    /// <param name="top">First row of the part.</param>
    /// <param name="left">First column of the part.</param>
    /// <param name="side">Of the part; less at the lower and right edge.</param>
    /// <param name="compute">Gives the tile <c>[1,H,W,C]</c> of a part <c>[1,h,w,C]</c>.</param>
    /// <param name="check">Sees the result.</param>
    public static Tile Compute(Exec exec, FloatTensor source, int top, int left, int side, Func<Tensor, Tensor> compute, Action<Tensor> check)
    {
        int channels = source[1], height = Math.Min(side, source[2] - top), width = Math.Min(side, source[3] - left);
        var part = new float[height * width * channels];
        for (int i = 0; i < part.Length; i++)
        {
            (int pixel, int c) = Math.DivRem(i, channels);
            part[i] = source.Values[(((c * source[2]) + top + (pixel / width)) * source[3]) + left + (pixel % width)];
        }
        using Tensor input = exec.Upload<float>(part, DType.Float32, 1, height, width, channels);
        using Tensor output = compute(input);
        check(output);
        using Tensor single = exec.Converted(output, DType.Float32);
        var values = new float[single.Count];
        exec.Read<float>(single, values);
        return new Tile((int)single[1], (int)single[2], (int)single[3], values);
    }

    private void Fade(Tile other, int otherY, int otherX, int y, int x, int columns, float share)
    {
        int from = ((otherY * other.Width) + otherX) * Channels, to = ((y * Width) + x) * Channels;
        for (int i = 0; i < columns * Channels; i++)
        {
            Values[to + i] = (other.Values[from + i] * (1 - share)) + (Values[to + i] * share);
        }
    }
}
