using System.Globalization;

namespace StableDiffusion.Benchmarks;

/// <summary>How fast a layer computes: the operations that a measuring exec counts, over the mean time.</summary>
public sealed class GflopsColumn : LayerColumn
{
    /// <inheritdoc />
    public override string ColumnName => "GFLOP/s";

    /// <inheritdoc />
    public override string Legend => "Billions of floating-point operations per second, 2 per multiply-add";

    /// <inheritdoc />
    // Operations per nanosecond are billions per second.
    protected override string Value(LayerBenchmark benchmark, string method, double meanNanoseconds) =>
        (benchmark.CountFlops(method) / meanNanoseconds).ToString("N1", CultureInfo.InvariantCulture);
}
