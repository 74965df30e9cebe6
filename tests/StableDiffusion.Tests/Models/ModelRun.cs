using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Models;

/// <summary>A tensor that a model computed, in the layout of the fixtures: rank 4 as NCHW.</summary>
internal sealed record Computed(int[] Shape, float[] Values)
{
    /// <summary>Ops that the evaluation called.</summary>
    public long Ops { get; init; }
}

/// <summary>
/// One evaluation as a pipeline does it: measured first, then computed in an arena of exactly the measured size. What is not a result
/// must be gone from the arena afterwards.
/// </summary>
internal sealed class ModelRun
{
    private readonly List<Tensor> _inputs = [];

    private readonly DType _activation;

    private ModelRun(Exec exec, DType activation) => (Exec, _activation) = (exec, activation);

    /// <summary>Where to compute.</summary>
    public Exec Exec { get; }

    /// <summary>Evaluates <paramref name="body"/>, which is called twice, and returns the tensors it returned.</summary>
    public static Computed[] Evaluate(Device device, Func<ModelRun, IReadOnlyList<Tensor>> body, DType activation = DType.Float32)
    {
        ExecStats measured;
        using (Exec exec = Exec.Measure(device))
        {
            measured = Once(exec, activation, body, out _);
        }
        using (Exec exec = Exec.Create(device, measured.PeakBytes))
        {
            ExecStats used = Once(exec, activation, body, out Computed[] results);
            Assert.That((used.PeakBytes, used.Flops, used.Ops), Is.EqualTo((measured.PeakBytes, measured.Flops, measured.Ops)), "peak, flops and ops, as measured");
            return results;
        }
    }

    /// <summary>Evaluates a body with one result.</summary>
    public static Computed Evaluate(Device device, Func<ModelRun, Tensor> body, DType activation = DType.Float32) =>
        Evaluate(device, run => (IReadOnlyList<Tensor>)[body(run)], activation)[0];

    /// <summary>Brings a fixture's tensor into the arena, rank 4 as NHWC. It is freed at the end.</summary>
    public Tensor Input(TestTensor tensor)
    {
        Tensor uploaded = Handed(tensor);
        _inputs.Add(uploaded);
        return uploaded;
    }

    /// <summary>The same for a layer that takes its input over.</summary>
    public Tensor Handed(TestTensor tensor)
    {
        float[] values = tensor.Shape.Length == 4 ? ToNhwc(tensor.ToSingle(), tensor.Shape) : tensor.ToSingle();
        long[] shape = [.. tensor.Shape.Length == 4 ? [tensor.Shape[0], tensor.Shape[2], tensor.Shape[3], tensor.Shape[1]] : tensor.Shape.Select(size => (long)size)];
        Tensor uploaded = Exec.Upload<float>(values, DType.Float32, shape);
        if (_activation == DType.Float32)
        {
            return uploaded;
        }
        Tensor converted = Exec.Contiguous(uploaded, _activation);
        uploaded.Dispose();
        return converted;
    }

    /// <summary>Brings float32 numbers into the arena, whatever the activations are. They are freed at the end.</summary>
    public Tensor Single(TestTensor tensor) => Later(Exec.Upload<float>(tensor.ToSingle(), DType.Float32, [.. tensor.Shape.Select(size => (long)size)]));

    /// <summary>Brings token ids into the arena. They are freed at the end.</summary>
    public Tensor Ids(TestTensor tensor)
    {
        int[] ids = [.. tensor.As<long>().Select(id => checked((int)id))];
        Tensor uploaded = Exec.Upload<int>(ids, DType.Int32, [.. tensor.Shape.Select(size => (long)size)]);
        _inputs.Add(uploaded);
        return uploaded;
    }

    /// <summary>Brings random numbers of unit variance into the arena, the same for the same seed and count. They are freed at the end.</summary>
    public Tensor Random(int seed, params ReadOnlySpan<long> shape)
    {
        var random = new System.Random(seed);
        var values = new float[shape.ToArray().Aggregate(1L, (product, size) => product * size)];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)((random.NextDouble() - 0.5) * Math.Sqrt(12));
        }
        return Later(Exec.Upload<float>(values, DType.Float32, shape));
    }

    /// <summary>Frees a tensor at the end.</summary>
    public Tensor Later(Tensor tensor)
    {
        _inputs.Add(tensor);
        return tensor;
    }

    /// <summary>[B,C,H,W] to [B,H,W,C].</summary>
    public static float[] ToNhwc(float[] values, IReadOnlyList<int> nchw) => Reorder(values, nchw[0], nchw[1], nchw[2] * nchw[3]);

    /// <summary>[B,H,W,C] to [B,C,H,W].</summary>
    public static float[] ToNchw(float[] values, IReadOnlyList<int> nhwc) => Reorder(values, nhwc[0], nhwc[1] * nhwc[2], nhwc[3]);

    private static ExecStats Once(Exec exec, DType activation, Func<ModelRun, IReadOnlyList<Tensor>> body, out Computed[] results)
    {
        var run = new ModelRun(exec, activation);
        IReadOnlyList<Tensor> outputs = body(run);
        long ops = exec.Stats.Ops;
        results = [.. outputs.Select(tensor => Read(exec, tensor) with { Ops = ops })];
        // A block's result may also be its last skip connection.
        foreach (Tensor tensor in outputs.Concat(run._inputs).DistinctBy(tensor => tensor.Data))
        {
            tensor.Dispose();
        }
        ExecStats stats = exec.Stats;
        Assert.That(stats.LiveBytes, Is.Zero, "bytes left in the arena");
        return stats;
    }

    private static Computed Read(Exec exec, Tensor tensor)
    {
        using Tensor single = exec.Converted(tensor, DType.Float32);
        var values = new float[tensor.Count];
        exec.Read(single, values.AsSpan());
        int[] shape = [.. tensor.Shape.Select(size => (int)size)];
        return shape.Length == 4
            ? new Computed([shape[0], shape[3], shape[1], shape[2]], ToNchw(values, shape))
            : new Computed(shape, values);
    }

    /// <summary>[B,M,N] to [B,N,M].</summary>
    private static float[] Reorder(float[] values, int batch, int rows, int columns)
    {
        var result = new float[values.Length];
        for (int b = 0; b < batch; b++)
        {
            for (int m = 0; m < rows; m++)
            {
                for (int n = 0; n < columns; n++)
                {
                    result[(((b * columns) + n) * rows) + m] = values[(((b * rows) + m) * columns) + n];
                }
            }
        }
        return result;
    }
}
