namespace StableDiffusion.Pipelines;

/// <summary>Resizing of <c>[B,C,H,W]</c> as torch.nn.functional.interpolate(size=..., align_corners=False), in float32 as there.</summary>
internal static class Interpolation
{
    /// <summary>PyTorch's bicubic coefficient.</summary>
    private const float A = -0.75f;

    /// <summary>Resizes each channel of each entry.</summary>
    public static FloatTensor Resize(FloatTensor source, int height, int width, LatentUpscale mode)
    {
        (int Index, float Weight)[][] rows = Taps(source[2], height, mode), columns = Taps(source[3], width, mode);
        var result = new FloatTensor(source[0], source[1], height, width);
        int sourceSize = source[2] * source[3], planes = source[0] * source[1];
        for (int plane = 0; plane < planes; plane++)
        {
            ReadOnlySpan<float> from = source.Values.AsSpan(plane * sourceSize, sourceSize);
            Span<float> to = result.Values.AsSpan(plane * height * width, height * width);
            for (int y = 0; y < height; y++)
            {
                for (int x = 0; x < width; x++)
                {
                    float sum = 0;
                    foreach ((int row, float ofRow) in rows[y])
                    {
                        float line = 0;
                        foreach ((int column, float weight) in columns[x])
                        {
                            line += weight * from[(row * source[3]) + column];
                        }
                        sum += ofRow * line;
                    }
                    to[(y * width) + x] = sum;
                }
            }
        }
        return result;
    }

    /// <summary>Per output index the inputs it is made of, with their weights; past the edge, the edge is repeated.</summary>
    private static (int, float)[][] Taps(int from, int to, LatentUpscale mode)
    {
        float scale = (float)from / to;
        int Inside(int index) => Math.Clamp(index, 0, from - 1);
        var taps = new (int, float)[to][];
        for (int i = 0; i < to; i++)
        {
            if (mode == LatentUpscale.Nearest)
            {
                taps[i] = [(Inside((int)MathF.Floor(i * scale)), 1)];
                continue;
            }
            float position = (scale * (i + 0.5f)) - 0.5f;
            if (mode == LatentUpscale.Bilinear)
            {
                position = MathF.Max(position, 0);
            }
            int below = (int)MathF.Floor(position);
            float t = position - below;
            taps[i] = mode == LatentUpscale.Bilinear
                ? [(Inside(below), 1 - t), (Inside(below + 1), t)]
                : [(Inside(below - 1), Outer(t + 1)), (Inside(below), Inner(t)), (Inside(below + 1), Inner(1 - t)), (Inside(below + 2), Outer(2 - t))];
        }
        return taps;
    }

    /// <summary>The cubic kernel within one cell.</summary>
    private static float Inner(float x) => ((((A + 2) * x) - (A + 3)) * x * x) + 1;

    /// <summary>The cubic kernel between one and two cells away.</summary>
    private static float Outer(float x) => (((((A * x) - (5 * A)) * x) + (8 * A)) * x) - (4 * A);
}
