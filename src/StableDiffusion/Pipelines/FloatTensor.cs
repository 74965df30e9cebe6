namespace StableDiffusion.Pipelines;

/// <summary>
/// Float32 values in host memory, row-major: latents and images <c>[B,C,H,W]</c> as in diffusers, embeddings <c>[B,T,C]</c>. What the
/// component-by-component API takes and returns.
/// </summary>
public sealed class FloatTensor
{
    /// <summary>Wraps <paramref name="values"/>; the array is used as it is, not copied.</summary>
    /// <exception cref="ArgumentException">The shape does not hold that many values.</exception>
    public FloatTensor(float[] values, params ReadOnlySpan<int> shape)
    {
        long count = 1;
        foreach (int side in shape)
        {
            count *= side > 0 ? side : throw new ArgumentException($"a tensor's sides are positive, not [{string.Join(",", shape.ToArray())}]");
        }
        if (count != values.Length)
        {
            throw new ArgumentException($"shape [{string.Join(",", shape.ToArray())}] holds {count} values, but {values.Length} were given");
        }
        Values = values;
        Shape = shape.ToArray();
    }

    /// <summary>Zeros.</summary>
    public FloatTensor(params ReadOnlySpan<int> shape) : this(new float[Product(shape)], shape) { }

    /// <summary>The values, row-major.</summary>
    public float[] Values { get; }

    /// <summary>The dimensions.</summary>
    public IReadOnlyList<int> Shape { get; }

    /// <summary>One side; negative counts from the last.</summary>
    public int this[int dimension] => Shape[dimension < 0 ? dimension + Shape.Count : dimension];

    /// <summary>Every value times a factor, rounded to float32 once, as a new tensor.</summary>
    public FloatTensor Scale(double factor)
    {
        var scaled = new float[Values.Length];
        for (int i = 0; i < scaled.Length; i++)
        {
            scaled[i] = (float)(Values[i] * factor);
        }
        return new FloatTensor(scaled, [.. Shape]);
    }

    /// <summary>A function of every value, as a new tensor.</summary>
    internal FloatTensor Map(Func<float, float> function) => new(Array.ConvertAll(Values, value => function(value)), [.. Shape]);

    /// <summary>own * this + factor * other, summed in float64 and rounded once.</summary>
    internal FloatTensor Plus(double own, FloatTensor other, double factor)
    {
        var sum = new float[Values.Length];
        for (int i = 0; i < sum.Length; i++)
        {
            sum[i] = (float)((own * Values[i]) + (factor * other.Values[i]));
        }
        return new FloatTensor(sum, [.. Shape]);
    }

    /// <summary>Images <c>[B,Ci,H,W]</c> joined along their channels.</summary>
    internal static FloatTensor JoinChannels(params ReadOnlySpan<FloatTensor> parts)
    {
        var entries = new List<FloatTensor>();
        int channels = 0, batch = parts[0][0];
        foreach (FloatTensor part in parts)
        {
            channels += part[1];
        }
        for (int b = 0; b < batch; b++)
        {
            foreach (FloatTensor part in parts)
            {
                FloatTensor entry = part.Slice(b, 1);
                entries.Add(new FloatTensor(entry.Values, part[1], part[2], part[3]));
            }
        }
        return new FloatTensor(Concat([.. entries]).Values, batch, channels, parts[0][2], parts[0][3]);
    }

    /// <summary>The whole first dimension so many times one after another, as torch's repeat.</summary>
    internal FloatTensor Repeat(int times)
    {
        var parts = new FloatTensor[times];
        Array.Fill(parts, this);
        return times == 1 ? this : Concat(parts);
    }

    /// <summary>Tensors of equal shape joined along the first dimension.</summary>
    public static FloatTensor Concat(params ReadOnlySpan<FloatTensor> parts)
    {
        int[] shape = [.. parts[0].Shape];
        var values = new List<float>();
        int first = 0;
        foreach (FloatTensor part in parts)
        {
            if (!part.Shape.Skip(1).SequenceEqual(shape.Skip(1)))
            {
                throw new ArgumentException($"cannot join {part} to [{string.Join(",", shape)}]");
            }
            values.AddRange(part.Values);
            first += part[0];
        }
        shape[0] = first;
        return new FloatTensor([.. values], shape);
    }

    /// <summary>Entries <c>[start, start+count)</c> of the first dimension, as a copy.</summary>
    public FloatTensor Slice(int start, int count)
    {
        int size = Values.Length / Shape[0];
        int[] shape = [.. Shape];
        shape[0] = count;
        return new FloatTensor(Values.AsSpan(start * size, count * size).ToArray(), shape);
    }

    /// <summary>Classifier-free guidance: <c>unconditional + scale * (conditional - unconditional)</c>, rounded once.</summary>
    /// <remarks>Ho and Salimans 2022, arXiv 2207.12598, in the form diffusers uses.</remarks>
    public static FloatTensor Guide(FloatTensor unconditional, FloatTensor conditional, double scale)
    {
        var guided = new float[unconditional.Values.Length];
        for (int i = 0; i < guided.Length; i++)
        {
            guided[i] = (float)(unconditional.Values[i] + scale * ((double)conditional.Values[i] - unconditional.Values[i]));
        }
        return new FloatTensor(guided, [.. unconditional.Shape]);
    }

    /// <summary>The values of <c>[B,C,H,W]</c> in the order <c>[B,H,W,C]</c> that device images have.</summary>
    internal float[] ToChannelsLast() => Transpose(Values, Shape[0], Shape[1], Shape[2] * Shape[3]);

    /// <summary><c>[B,C,H,W]</c> from values in the order <c>[B,H,W,C]</c>.</summary>
    internal static FloatTensor FromChannelsLast(float[] values, int batch, int channels, int height, int width) =>
        new(Transpose(values, batch, height * width, channels), batch, channels, height, width);

    /// <summary><c>[batch, rows, columns]</c> to <c>[batch, columns, rows]</c>.</summary>
    private static float[] Transpose(float[] source, int batch, int rows, int columns)
    {
        var target = new float[source.Length];
        for (int b = 0; b < batch; b++)
        {
            int first = b * rows * columns;
            for (int r = 0; r < rows; r++)
            {
                for (int c = 0; c < columns; c++)
                {
                    target[first + c * rows + r] = source[first + r * columns + c];
                }
            }
        }
        return target;
    }

    /// <inheritdoc />
    public override string ToString() => $"float32[{string.Join(",", Shape)}]";

    private static int Product(ReadOnlySpan<int> shape)
    {
        int product = 1;
        foreach (int side in shape)
        {
            product = checked(product * side);
        }
        return product;
    }
}
