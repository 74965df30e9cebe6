using System.Globalization;
using BenchmarkDotNet.Columns;

namespace StableDiffusion.Benchmarks;

/// <summary>What a layer takes on a CUDA device, between two events there: without what the processor does to queue it.</summary>
public sealed class DeviceTimeColumn : LayerColumn
{
    /// <inheritdoc />
    public override string ColumnName => "Device time";

    /// <inheritdoc />
    public override string Legend => "Device time of one call in milliseconds, from events around many calls (CUDA only)";

    /// <inheritdoc />
    public override UnitType UnitType => UnitType.Time;

    /// <inheritdoc />
    protected override string Value(LayerBenchmark benchmark, string method, double meanNanoseconds) =>
        benchmark.MeasureDeviceTime(method)?.ToString("N4", CultureInfo.InvariantCulture) ?? "-";
}
