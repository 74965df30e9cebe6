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

    private void Fade(Tile other, int otherY, int otherX, int y, int x, int columns, float share)
    {
        int from = ((otherY * other.Width) + otherX) * Channels, to = ((y * Width) + x) * Channels;
        for (int i = 0; i < columns * Channels; i++)
        {
            Values[to + i] = (other.Values[from + i] * (1 - share)) + (Values[to + i] * share);
        }
    }
}
