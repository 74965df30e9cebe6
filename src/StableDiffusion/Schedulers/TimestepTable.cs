namespace StableDiffusion.Schedulers;

/// <summary>
/// The timesteps of a schedule, with NumPy's rounding (half to even) and dtypes. diffusers: the first half of every <c>set_timesteps</c>.
/// </summary>
static class TimestepTable
{
    /// <summary>For the schedulers that interpolate noise levels: float32, not rounded under linspace. Descending.</summary>
    public static float[] Fractional(BetaScheduler config, int steps) => config.TimestepSpacing == TimestepSpacing.Linspace
        ? Array.ConvertAll(Linspace(0, config.NumTrainTimesteps - 1, steps).Reverse().ToArray(), t => (float)t)
        : Array.ConvertAll(Whole(config, steps), t => (float)t);

    /// <summary>For the schedulers that look timesteps up: whole numbers. Descending.</summary>
    public static int[] Whole(BetaScheduler config, int steps)
    {
        int count = config.NumTrainTimesteps;
        return config.TimestepSpacing switch
        {
            TimestepSpacing.Linspace => Rounded(Linspace(0, count - 1, steps).Reverse()),
            TimestepSpacing.Leading => Multiples(count / steps, steps, config.StepsOffset),
            _ => Trailing(count, count / (double)steps),
        };
    }

    /// <summary>
    /// For the multistep solvers of the DPM family: one more point than steps is laid out below <paramref name="last"/> and the
    /// smallest dropped, since the final noise level is given apart. Descending.
    /// </summary>
    public static int[] WholeWithEnd(BetaScheduler config, int last, int steps) => config.TimestepSpacing switch
    {
        TimestepSpacing.Linspace => Rounded(Linspace(0, last - 1, steps + 1).Reverse().Take(steps)),
        TimestepSpacing.Leading => Multiples(last / (steps + 1), steps + 1, config.StepsOffset)[..steps],
        _ => Trailing(last, config.NumTrainTimesteps / (double)steps),
    };

    /// <summary>numpy.linspace in float64, both ends included.</summary>
    public static double[] Linspace(double start, double stop, int count)
    {
        var values = new double[count];
        double step = (stop - start) / (count - 1);
        for (int i = 0; i < count; i++)
        {
            values[i] = i * step + start;
        }
        if (count > 1)
        {
            values[^1] = stop;
        }
        else
        {
            values[0] = start;
        }
        return values;
    }

    /// <summary>Rounds half to even.</summary>
    public static int[] Rounded(IEnumerable<double> values) => [.. values.Select(value => (int)Math.Round(value, MidpointRounding.ToEven))];

    static int[] Multiples(int ratio, int count, int offset)
    {
        var timesteps = new int[count];
        for (int i = 0; i < count; i++)
        {
            timesteps[i] = (count - 1 - i) * ratio + offset;
        }
        return timesteps;
    }

    /// <summary>
    /// numpy.arange(last, 0, -ratio) rounded, less 1. For some numbers of steps (61, 103, ...) arange in float64 has one entry too
    /// many, at about 1e-13; it would become timestep -1 and is left out.
    /// </summary>
    static int[] Trailing(int last, double ratio)
    {
        double step = last - ratio - last;
        int count = (int)Math.Ceiling(last / ratio - 1e-9);
        return Rounded(Enumerable.Range(0, count).Select(i => Math.Round(last + i * step, MidpointRounding.ToEven) - 1));
    }
}
