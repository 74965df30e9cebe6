namespace StableDiffusion.Pipelines;

/// <summary>
/// The initial noise lies between that of two seeds, so that pictures are near the first seed's one: "variation seed" and "variation strength"
/// of the web UIs, and interpolated as there, by angle along the height axis of each channel and column.
/// </summary>
/// <param name="Seed">
/// The second seed, for one generator that draws the whole batch; with a seed per image (<see cref="GenerationRequest.Seeds"/>), image i takes this seed plus i.
/// </param>
/// <param name="Strength">0 (the first seed's noise, bit for bit) to 1 (the second seed's).</param>
public sealed record Variation(ulong Seed, double Strength)
{
    /// <summary>Above this mean cosine the web UIs interpolate linearly, and the other way round; kept so, since pictures shared with their seeds depend on it.</summary>
    private const float NearlyEqual = 0.9995f;

    /// <summary>From the first noise to the second, both <c>[B,C,h,w]</c>, each entry by itself.</summary>
    internal FloatTensor Between(FloatTensor first, FloatTensor second)
    {
        FloatTensor[] entries = [.. Enumerable.Range(0, first[0]).Select(i => Slerp((float)Strength, first.Slice(i, 1), second.Slice(i, 1)))];
        return FloatTensor.Concat(entries);
    }

    private static FloatTensor Slerp(float share, FloatTensor low, FloatTensor high)
    {
        int channels = low[1], height = low[2], width = low[3];
        var cosines = new float[channels * width];
        for (int column = 0; column < cosines.Length; column++)
        {
            double lowSquare = 0, highSquare = 0, product = 0;
            for (int y = 0; y < height; y++)
            {
                int i = Index(column, y);
                lowSquare += (double)low.Values[i] * low.Values[i];
                highSquare += (double)high.Values[i] * high.Values[i];
                product += (double)low.Values[i] * high.Values[i];
            }
            cosines[column] = (float)(product / Math.Sqrt(lowSquare * highSquare));
        }
        var result = new FloatTensor([.. low.Shape]);
        bool linear = cosines.Average() > NearlyEqual;
        for (int column = 0; column < cosines.Length; column++)
        {
            float angle = MathF.Acos(Math.Clamp(cosines[column], -1, 1)), sine = MathF.Sin(angle);
            (float ofLow, float ofHigh) = linear ? (share, 1 - share) : (MathF.Sin((1 - share) * angle) / sine, MathF.Sin(share * angle) / sine);
            for (int y = 0; y < height; y++)
            {
                int i = Index(column, y);
                result.Values[i] = (ofLow * low.Values[i]) + (ofHigh * high.Values[i]);
            }
        }
        return result;

        int Index(int column, int y) => ((((column / width) * height) + y) * width) + (column % width);
    }
}
