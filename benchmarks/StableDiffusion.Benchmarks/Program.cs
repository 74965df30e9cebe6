using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using Perfolizer.Horology;
using StableDiffusion.Benchmarks;

// dotnet run -c Release --project benchmarks/StableDiffusion.Benchmarks -- --filter '*ResnetBlock*'
IConfig config = DefaultConfig.Instance
    .AddJob(Job.Default.WithWarmupCount(2).WithIterationCount(7).WithIterationTime(TimeInterval.FromMilliseconds(300)).AsDefault())
    .AddColumn(new GflopsColumn(), new DeviceTimeColumn())
    .HideColumns(Column.Error);
BenchmarkSwitcher.FromAssembly(typeof(GflopsColumn).Assembly).Run(args, config);
