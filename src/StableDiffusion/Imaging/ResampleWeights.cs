namespace StableDiffusion.Imaging;

/// <summary>
/// What each pixel of a resized row (or column) is made of: a run of old pixels and a weight for each. Weights are fixed-point numbers
/// with <see cref="Precision"/> bits after the point, computed as Pillow computes them (Resample.c), so that results agree bit by bit.
/// </summary>
internal sealed class ResampleWeights
{
    /// <summary>Bits after the point: 32 less 8 for the result and 2 for what negative weights may add.</summary>
    public const int Precision = 22;

    private readonly int[] firsts;
    private readonly int[] counts;
    private readonly int[] weights;
    private readonly int stride;

    /// <summary>Weights for one axis.</summary>
    /// <param name="filter">Any but <see cref="ResampleFilter.Nearest"/>.</param>
    /// <param name="oldSize">Pixels that there are.</param>
    /// <param name="start">Where the part that is resized begins, in old pixels.</param>
    /// <param name="end">Where it ends; equal to start it is the line between two pixels, or the edge.</param>
    /// <param name="newSize">Pixels that it becomes.</param>
    public ResampleWeights(ResampleFilter filter, int oldSize, double start, double end, int newSize)
    {
        double scale = (end - start) / newSize;
        double widening = Math.Max(scale, 1.0); // A shrinking picture's filter covers all pixels that become one.
        double radius = Radius(filter) * widening;
        stride = ((int)Math.Ceiling(radius) * 2) + 1;
        firsts = new int[newSize];
        counts = new int[newSize];
        weights = new int[newSize * stride];
        double[] run = new double[stride];
        double inverse = 1.0 / widening;
        for (int i = 0; i < newSize; i++)
        {
            double centre = start + ((i + 0.5) * scale);
            int first = Math.Max((int)(centre - radius + 0.5), 0);
            int count = Math.Min((int)(centre + radius + 0.5), oldSize) - first;
            double sum = 0;
            for (int k = 0; k < count; k++)
            {
                run[k] = Value(filter, (k + first - centre + 0.5) * inverse);
                sum += run[k];
            }

            (firsts[i], counts[i]) = (first, count);
            for (int k = 0; k < count; k++)
            {
                double weight = (sum == 0 ? run[k] : run[k] / sum) * (1 << Precision);
                weights[(i * stride) + k] = (int)(weight < 0 ? weight - 0.5 : weight + 0.5);
            }
        }
    }

    /// <summary>New pixels.</summary>
    public int Count => firsts.Length;

    /// <summary>The first old pixel that new pixel i is made of.</summary>
    public int First(int i) => firsts[i];

    /// <summary>The weights of that pixel and those after it.</summary>
    public ReadOnlySpan<int> Of(int i) => weights.AsSpan(i * stride, counts[i]);

    private static double Radius(ResampleFilter filter) => filter switch
    {
        ResampleFilter.Bilinear => 1,
        ResampleFilter.Bicubic => 2,
        ResampleFilter.Lanczos => 3,
        _ => throw new ArgumentOutOfRangeException(nameof(filter), filter, "It has no weights."),
    };

    private static double Value(ResampleFilter filter, double x) => filter switch
    {
        ResampleFilter.Bilinear => Math.Max(1 - Math.Abs(x), 0),
        ResampleFilter.Bicubic => Cubic(Math.Abs(x)),
        _ => x is >= -3 and < 3 ? Sinc(x) * Sinc(x / 3) : 0,
    };

    private static double Cubic(double x)
    {
        const double A = -0.5;
        return x < 1 ? ((((A + 2) * x) - (A + 3)) * x * x) + 1
            : x < 2 ? ((((x - 5) * x) + 8) * x - 4) * A
            : 0;
    }

    private static double Sinc(double x) => x == 0 ? 1 : Math.Sin(x * Math.PI) / (x * Math.PI);
}
