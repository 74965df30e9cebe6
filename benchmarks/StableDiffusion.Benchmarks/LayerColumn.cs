using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Parameters;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace StableDiffusion.Benchmarks;

/// <summary>A column of something that a layer benchmark tells of itself.</summary>
public abstract class LayerColumn : IColumn
{
    /// <inheritdoc />
    public string Id => GetType().Name;

    /// <inheritdoc />
    public abstract string ColumnName { get; }

    /// <inheritdoc />
    public abstract string Legend { get; }

    /// <inheritdoc />
    public bool AlwaysShow => true;

    /// <inheritdoc />
    public ColumnCategory Category => ColumnCategory.Custom;

    /// <inheritdoc />
    public int PriorityInCategory => 0;

    /// <inheritdoc />
    public bool IsNumeric => true;

    /// <inheritdoc />
    public virtual UnitType UnitType => UnitType.Dimensionless;

    /// <inheritdoc />
    public bool IsAvailable(Summary summary) => true;

    /// <inheritdoc />
    public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

    /// <inheritdoc />
    public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
    {
        if (summary[benchmarkCase]?.ResultStatistics is not { } statistics)
        {
            return "-";
        }
        var benchmark = (LayerBenchmark)Activator.CreateInstance(benchmarkCase.Descriptor.Type)!;
        foreach (ParameterInstance parameter in benchmarkCase.Parameters.Items)
        {
            benchmark.GetType().GetProperty(parameter.Name)!.SetValue(benchmark, parameter.Value);
        }
        return Value(benchmark, benchmarkCase.Descriptor.WorkloadMethod.Name, statistics.Mean);
    }

    /// <inheritdoc />
    public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

    /// <summary>The text of a cell.</summary>
    /// <param name="benchmark">The benchmark with its parameters set.</param>
    /// <param name="method">Its method.</param>
    /// <param name="meanNanoseconds">What was measured.</param>
    protected abstract string Value(LayerBenchmark benchmark, string method, double meanNanoseconds);
}
