using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>Generations on a CUDA device: half precision, graph instances, steps in flight, cancellation, threads. Tiny models: the emulated one is slow.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Cuda))]
public sealed class CudaPipelineTests(string deviceName)
{
    private Device _device = null!;
    private StableDiffusionPipeline _pipeline = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open(deviceName);
        _pipeline = StableDiffusionPipeline.Load(Folder("sd1"), _device);
    }

    [OneTimeTearDown]
    public void Unload()
    {
        _pipeline?.Dispose();
        _device?.Dispose();
    }

    private static string Folder(string family) => Fixtures.PathOf("models", family);

    private static GenerationRequest Small(int steps = 2, double guidance = 1) =>
        new("a cat") { Steps = steps, Seed = 7, Width = 32, Height = 32, GuidanceScale = guidance, LatentsOnly = true, Scheduler = Scheduler.Create("DDIM") };

    [Test]
    public void Load_AutoDType_IsFloat16WithABFloat16Vae()
    {
        PipelineComponents parts = _pipeline.Components;
        Assert.That(parts.Vae.Config.ForceUpcast);
        Assert.That((parts.Unet.Storage, parts.Unet.ActivationDType, parts.TextEncoders[0].Storage, parts.Vae.Storage),
            Is.EqualTo((DType.Float16, DType.Float16, DType.Float16, DType.BFloat16)));
    }

    [Test]
    public void Generate_HalfPrecision_StaysWithinItsRoundingOfTheProcessor(
        [Values("sd1", "sd2", "sdxl")] string family, [Values(DType.Float16, DType.BFloat16)] DType dtype)
    {
        // The first prediction, before the solver and guidance weigh its rounding; and the picture at all.
        FloatTensor actual = new(1), expected = new(1);
        GenerationRequest request = Small(steps: 1) with { LatentsOnly = false };
        using var half = StableDiffusionPipeline.Load(Folder(family), _device, new LoadOptions { WeightDType = dtype });
        using var cpu = StableDiffusionPipeline.Load(Folder(family), Device.Open("cpu"), new LoadOptions { WeightDType = DType.Float32 });
        using GenerationResult result = half.Generate(request with { StepEnd = step => { if (step.Index == 0) { actual = step.ModelOutput; } } });
        using GenerationResult reference = cpu.Generate(request with { StepEnd = step => { if (step.Index == 0) { expected = step.ModelOutput; } } });
        double limit = Tolerances.HalfPrecisionTypical(dtype, CountOps(half.Components)), error = Tolerances.TypicalError(actual.Values, expected.Values);
        TestContext.Out.WriteLine($"{error / limit:F3} of the limit {limit:G3}");
        Assert.That(error, Is.LessThanOrEqualTo(limit), $"{family} in {dtype}");
        Assert.That(result.Images[0].Pixels.ToArray().Distinct().Count(), Is.GreaterThan(2), "a picture of more than two values");
        cpu.Components.Device.Dispose();
    }

    [Test]
    public void Generate_Twice_SameBitsFromOneGraphInstance()
    {
        using GenerationResult a = _pipeline.Generate(Small(guidance: 5)), b = _pipeline.Generate(Small(guidance: 5));
        Assert.That(b.Latents.Values, Is.EqualTo(a.Latents.Values));
        Assert.That(_pipeline.Components.Graphs.Count, Is.GreaterThanOrEqualTo(1));
        long bytes = _pipeline.Components.Graphs.Bytes;
        _pipeline.Generate(Small(guidance: 5) with { Seed = 8 }).Dispose();
        Assert.That(_pipeline.Components.Graphs.Bytes, Is.EqualTo(bytes), "the same shape takes no new instance");
    }

    [Test]
    public void Generate_GuidanceForTheFirstStepOnly_ChangesTheGraphInstance()
    {
        var guided = new List<float[]>();
        var first = new List<float[]>();
        _pipeline.Generate(Small(guidance: 5) with { StepEnd = step => guided.Add(step.Latents.Values) }).Dispose();
        int instances = _pipeline.Components.Graphs.Count;
        _pipeline.Generate(Small(guidance: 5) with { GuidanceInterval = (0, 0), StepEnd = step => first.Add(step.Latents.Values) }).Dispose();
        Assert.That(first.Take(2), Is.EqualTo(guided.Take(2)));
        Assert.That(first[2], Is.Not.EqualTo(guided[2]));
        Assert.That(_pipeline.Components.Graphs.Count, Is.InRange(instances, instances + 1), "one for the prompt alone, unless another test had made it");
    }

    [Test]
    public void Generate_FromTwoThreads_SameBitsAsOneByOne()
    {
        float[][] alone = [.. Enumerable.Range(0, 2).Select(Draw)], together = new float[2][];
        Parallel.For(0, 2, new ParallelOptions { MaxDegreeOfParallelism = 2 }, i => together[i] = Draw(i));
        Assert.That(together, Is.EqualTo(alone));

        float[] Draw(int seed)
        {
            using GenerationResult result = _pipeline.Generate(Small(steps: 1) with { Seed = (ulong)seed });
            return result.Latents.Values;
        }
    }

    [Test]
    public void Generate_TwoPipelinesOnOneDevice_EachDrawsItsOwn()
    {
        using var other = StableDiffusionPipeline.Load(Folder("sd2"), _device);
        float[] first = [], second = [];
        Parallel.Invoke(() => first = Draw(_pipeline), () => second = Draw(other));
        Assert.That((first, second), Is.EqualTo((Draw(_pipeline), Draw(other))));

        static float[] Draw(StableDiffusionPipeline pipeline)
        {
            using GenerationResult result = pipeline.Generate(Small(steps: 1));
            return result.Latents.Values;
        }
    }

    [Test]
    public void Generate_Cancelled_InstanceIsNotUsedAgainAndThePipelineIs()
    {
        float[] expected = Latents(Small(steps: 1));
        using var cancellation = new CancellationTokenSource();
        GenerationRequest cancelling = Small(steps: 100) with { StepEnd = step => { if (step.Index == 1) { cancellation.Cancel(); } } };
        Assert.That(() => _pipeline.Generate(cancelling, null, cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Latents(Small(steps: 1)), Is.EqualTo(expected));
    }

    [Test]
    public void Generate_Progress_CountsFinishedStepsAndEndsAtOne()
    {
        var seen = new List<GenerationProgress>();
        _pipeline.Generate(Small(steps: 3) with { LatentsOnly = false }, new Collect(seen.Add)).Dispose();
        Assert.That(seen.Select(p => p.Fraction), Is.Ordered);
        Assert.That(seen[^1].Fraction, Is.EqualTo(1).Within(1e-9));
        Assert.That(seen.Where(p => p.Phase == GenerationPhase.Denoising).Select(p => p.Step).Distinct(), Is.EqualTo(new[] { 0, 1, 2, 3 }));
    }

    [Test]
    public void Generate_StepEnd_SeesTheLatentsOfItsStep()
    {
        var seen = new List<float[]>();
        using GenerationResult result = _pipeline.Generate(Small(steps: 2) with { StepEnd = step => seen.Add(step.Latents.Values) });
        Assert.That(seen, Has.Count.EqualTo(3).And.Unique);
        Assert.That(seen[^1], Is.EqualTo(result.Latents.Values));
    }

    [Test]
    public void Dispose_AfterGenerations_FreesTheGraphInstances()
    {
        long live = NativeLibraryLocator.LiveHandles;
        using (var pipeline = StableDiffusionPipeline.Load(Folder("sd1"), _device))
        {
            pipeline.Generate(Small(steps: 1)).Dispose();
            Assert.That(pipeline.Components.Graphs.Count, Is.EqualTo(1));
        }
        Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(live));
    }

    [Test]
    public void Rent_WithoutMemoryForASecond_WaitsForTheFirst()
    {
        using var pool = new UnetGraphPool();
        PipelineComponents parts = _pipeline.Components;
        using Exec exec = Exec.Create(_device, 1 << 22);
        using UnetContext context = new Conditioning(new FloatTensor(1, 77, parts.Unet.Config.CrossAttentionDim[0]), null, null, null).Prepare(exec, parts.Unet);
        var key = new UnetGraphKey(parts.Unet, 1, 1, 4, 4, 77);
        UnetGraph Make() => new(key, _device, context, default);

        UnetGraph first = pool.Rent(key, 1, _device, Make, default);
        Task<UnetGraph> waiting = Task.Run(() => pool.Rent(key, long.MaxValue, _device, Make, default));
        Assert.That(waiting.Wait(200), Is.False, "a second one would not fit");
        using var cancellation = new CancellationTokenSource(100);
        Assert.That(() => pool.Rent(key, long.MaxValue, _device, Make, cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        pool.Return(first, failed: false);
        Assert.That(waiting.Result, Is.SameAs(first));
        pool.Return(first, failed: true);
        Assert.That(pool.Count, Is.Zero, "an instance whose generation failed is gone");
    }

    private float[] Latents(GenerationRequest request)
    {
        using GenerationResult result = _pipeline.Generate(request);
        return result.Latents.Values;
    }

    private static long CountOps(PipelineComponents parts)
    {
        using Exec exec = Exec.Measure(parts.Device);
        using Tensor sample = exec.Alloc(DType.Float32, 1, 4, 4, 4), tokens = exec.Alloc(DType.Float32, 1, 77, parts.Unet.Config.CrossAttentionDim[0]);
        UnetConfig config = parts.Unet.Config;
        AddedConditions added = config.AddTextTime
            ? new AddedConditions(exec.Alloc(DType.Float32, 1, config.ProjectionClassEmbeddingsInputDim - (6 * config.AdditionTimeEmbedDim)), exec.Alloc(DType.Float32, 1, 6))
            : default;
        parts.Unet.Forward(exec, sample, [1], tokens, added).Dispose();
        return exec.Stats.Ops;
    }

    private sealed class Collect(Action<GenerationProgress> add) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) => add(value);
    }
}
