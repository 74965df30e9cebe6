using StableDiffusion.Imaging;
using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Random;
using StableDiffusion.Schedulers;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>The pipeline as a library: seeds, batches, threads, cancellation, progress, given latents and embeddings, limits.</summary>
public sealed class PipelineTests
{
    private const string Circle = "a red circle on a blue background";
    private StableDiffusionPipeline _pipeline = null!;

    [OneTimeSetUp]
    public void Load() => _pipeline = StableDiffusionPipeline.Load(ModelFolder.BuiltIn, Device.Auto);

    [OneTimeTearDown]
    public void Unload() => _pipeline.Dispose();

    private static GenerationRequest Small(string prompt = Circle) => new(prompt) { Steps = 3, Seed = 7, Width = 64, Height = 64 };

    [Test]
    public void Generate_SameSeedTwice_SamePixels()
    {
        using GenerationResult a = _pipeline.Generate(Small()), b = _pipeline.Generate(Small());
        Assert.That(b.Images[0].Pixels.SequenceEqual(a.Images[0].Pixels));
    }

    /// <summary>The defaults of StableDiffusionPipeline, StableDiffusionXLPipeline, StableDiffusionXLInpaintPipeline and LatentConsistencyModelPipeline.</summary>
    [TestCase("sd1", false, 7.5)]
    [TestCase("sdxl", false, 5)]
    [TestCase("sdxl", true, 7.5)]
    [TestCase("lcm", false, 8.5)]
    public void GuidanceScaleOf_NoneNamed_IsThatOfDiffusersPipeline(string model, bool masked, double expected)
    {
        PipelineComponents parts = _pipeline.Components;
        using var pixel = new RgbImage(1, 1, new byte[3]);
        using var unet = UNet2DConditionModel.Load(
            parts.Unet.Config with
            {
                TimeCondProjDim = model == "lcm" ? 8 : null,
                AddTextTime = model == "sdxl",
                AdditionTimeEmbedDim = 8,
                ProjectionClassEmbeddingsInputDim = 64,
            },
            new RandomWeightSource(),
            parts.Device);
        GenerationRequest request = Small() with { Mask = masked ? pixel : null };
        Assert.That((parts with { Unet = unet }).GuidanceScaleOf(request), Is.EqualTo(expected));
        Assert.That(parts.GuidanceScaleOf(request with { GuidanceScale = 3 }), Is.EqualTo(3));
    }

    [Test]
    public void Generate_NoSeed_TellsTheOneThatReproducesIt()
    {
        using GenerationResult a = _pipeline.Generate(Small() with { Seed = null });
        using GenerationResult b = _pipeline.Generate(Small() with { Seed = a.Seeds[0] });
        Assert.That(b.Images[0].Pixels.SequenceEqual(a.Images[0].Pixels));
    }

    [Test]
    public void Generate_SeedPerImage_EachImageIsWhatItsSeedAloneDraws()
    {
        using GenerationResult batch = _pipeline.Generate(Small() with { Seeds = [7, 8], ImagesPerPrompt = 2 });
        using GenerationResult alone = _pipeline.Generate(Small() with { Seed = 8 });
        Assert.That(batch.Images[1].Pixels.SequenceEqual(alone.Images[0].Pixels));
        Assert.That(batch.Parameters[1].Seed, Is.EqualTo(8));
    }

    [Test]
    public void Generate_OneGeneratorForABatch_FirstDrawIsTheWholeBatch()
    {
        // As in diffusers: image 0 of a batch is not the image its seed draws alone, unless the draws happen to agree.
        FloatTensor? initial = null;
        _pipeline.Generate(Small() with { ImagesPerPrompt = 2, StepEnd = step => initial ??= step.Latents }).Dispose();
        var expected = new float[2 * 4 * 8 * 8];
        new TorchCpuGenerator(7).Normal(expected);
        Assert.That(initial!.Values, Is.EqualTo(expected));
    }

    [Test]
    public void Generate_NoiseGpu_DrawsAsThatGpu()
    {
        FloatTensor? initial = null;
        var gpu = TorchCudaGpu.FromName("RTX 3060");
        using GenerationResult result = _pipeline.Generate(Small() with { NoiseGpu = gpu, StepEnd = step => initial ??= step.Latents });
        var expected = new float[4 * 8 * 8];
        new TorchCudaGenerator(7, gpu).Normal(expected);
        Assert.That(initial!.Values, Is.EqualTo(expected));
        Assert.That(result.Parameters[0].Other, Does.Contain(KeyValuePair.Create("RNG", "GPU")));
    }

    [Test]
    public void Generate_TwoPromptsTwoImagesEach_OrderIsPromptByPrompt()
    {
        var request = new GenerationRequest([Circle, "a yellow star on a purple background"]) { Steps = 3, Width = 64, Height = 64, ImagesPerPrompt = 2, Seeds = [1, 2, 3, 4] };
        using GenerationResult batch = _pipeline.Generate(request);
        using GenerationResult alone = _pipeline.Generate(Small("a yellow star on a purple background") with { Seed = 3 });
        Assert.That(batch.Images, Has.Count.EqualTo(4));
        Assert.That(batch.Images[2].Pixels.SequenceEqual(alone.Images[0].Pixels));
    }

    /// <summary>The arena has exactly the planned size, so a gap where the plan saw none would be refused.</summary>
    [TestCase(0, 1)]
    [TestCase(0.5, 1)]
    [TestCase(0.3, 0.6)]
    public void Generate_OddSizesAndChangingGuidance_FitThePlan(double start, double end)
    {
        GenerationRequest request = Small() with { Steps = 6, Height = 40, ImagesPerPrompt = 2, GuidanceInterval = (start, end), LatentsOnly = true };
        using GenerationResult result = _pipeline.Generate(request);
        Assert.That(result.Latents.Values, Has.All.Matches<float>(float.IsFinite));
    }

    [Test]
    public void Generate_GivenLatentsAndEmbeddings_SameAsDrawnAndEncoded()
    {
        var noise = new float[4 * 8 * 8];
        new TorchCpuGenerator(7).Normal(noise);
        PromptEmbeddings embeddings = _pipeline.EncodePrompt(Small());
        using GenerationResult drawn = _pipeline.Generate(Small());
        using GenerationResult given = _pipeline.Generate(new GenerationRequest(embeddings)
        {
            Steps = 3,
            Width = 64,
            Height = 64,
            Latents = new FloatTensor(noise, 1, 4, 8, 8),
        });
        Assert.That(given.Latents.Values, Is.EqualTo(drawn.Latents.Values));
    }

    [Test]
    public void Generate_LatentsOnly_NoImages()
    {
        using GenerationResult result = _pipeline.Generate(Small() with { LatentsOnly = true });
        Assert.That(result.Images, Is.Empty);
        Assert.That(result.Latents.Shape, Is.EqualTo(new[] { 1, 4, 8, 8 }));
    }

    [Test]
    public void Generate_EmptyPrompt_Draws()
    {
        using GenerationResult result = _pipeline.Generate(Small(""));
        Assert.That(result.Images, Has.Count.EqualTo(1));
        Assert.That(result.Warnings, Is.Empty);
    }

    [Test]
    public void Generate_TenThousandCharacters_WarnsWhatWasLeftOut()
    {
        string prompt = string.Concat(Enumerable.Repeat("a red circle ", 770))[..10_000];
        using GenerationResult result = _pipeline.Generate(Small(prompt));
        Assert.That(result.Warnings, Has.Count.EqualTo(1));
        Assert.That(result.Warnings[0], Does.Contain("75 tokens").And.Contain("circle"));
    }

    [Test]
    public void Generate_FromFourThreads_SamePicturesAsOneByOne()
    {
        byte[][] alone = [.. Enumerable.Range(0, 4).Select(i => Draw((ulong)i))];
        byte[][] together = new byte[4][];
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i => together[i] = Draw((ulong)i));
        Assert.That(together, Is.EqualTo(alone));

        byte[] Draw(ulong seed)
        {
            using GenerationResult result = _pipeline.Generate(Small() with { Seed = seed });
            return result.Images[0].Pixels.ToArray();
        }
    }

    [Test]
    public async Task GenerateAsync_Cancelled_ThrowsAndPipelineWorksAgain()
    {
        using var cancellation = new CancellationTokenSource();
        Task<GenerationResult> task = _pipeline.GenerateAsync(Small() with { Steps = 500, StepEnd = step => { if (step.Index == 1) { cancellation.Cancel(); } } }, null, cancellation.Token);
        Assert.That(async () => await task, Throws.InstanceOf<OperationCanceledException>());
        using GenerationResult result = await _pipeline.GenerateAsync(Small());
        Assert.That(result.Images, Has.Count.EqualTo(1));
    }

    [Test]
    public void Generate_Progress_RisesToOneThroughAllPhases()
    {
        var seen = new List<GenerationProgress>();
        _pipeline.Generate(Small(), new Collect(seen.Add)).Dispose();
        Assert.That(seen.Select(p => p.Fraction), Is.Ordered);
        Assert.That(seen[^1].Fraction, Is.EqualTo(1).Within(1e-9), "the plan counts what is computed");
        Assert.That(seen.Select(p => p.Phase).Distinct(), Is.EqualTo(new[] { GenerationPhase.TextEncoding, GenerationPhase.Denoising, GenerationPhase.Decoding }));
        Assert.That(seen[^1].Step, Is.EqualTo(3));
        Assert.That(seen[^1].Steps, Is.EqualTo(3));
    }

    [Test]
    public void Generate_SharedComponents_TwoPipelinesOneSetOfWeights()
    {
        using var other = new StableDiffusionPipeline(_pipeline.Components with { Scheduler = Scheduler.Create("Euler", (Scheduler)_pipeline.Components.Scheduler) });
        using GenerationResult a = _pipeline.Generate(Small()), b = other.Generate(Small());
        Assert.That(b.Images[0].Pixels.SequenceEqual(a.Images[0].Pixels), Is.False, "another scheduler draws another picture");
        other.Dispose();
        _pipeline.Generate(Small()).Dispose();
    }

    [Test]
    public void Generate_MemoryLimitBelowPlan_RefusedBeforeWork()
    {
        using var limited = new StableDiffusionPipeline(_pipeline.Components with { MemoryLimitBytes = _pipeline.Components.WeightBytes + 100_000 });
        var steps = new List<int>();
        var refused = Assert.Throws<OutOfDeviceMemoryException>(() => limited.Generate(Small() with { StepEnd = step => steps.Add(step.Index) }))!;
        Assert.That(refused.NeededBytes, Is.GreaterThan(100_000));
        Assert.That(refused.FreeBytes, Is.EqualTo(100_000));
        Assert.That(refused.Message, Does.Contain("MB").And.Contain("64x64"));
        Assert.That(steps, Is.Empty);
    }

    [Test]
    public void Generate_LargerThanMemory_RefusedWithNeededAndFreeBytes()
    {
        var refused = Assert.Throws<OutOfDeviceMemoryException>(() => _pipeline.Generate(Small() with { Width = 16384, Height = 16384, ImagesPerPrompt = 100 }))!;
        Assert.That(refused.NeededBytes, Is.GreaterThan(refused.FreeBytes));
        Assert.That(refused.FreeBytes, Is.GreaterThan(0));
    }

    private static IEnumerable<TestCaseData> BadRequests()
    {
        yield return new TestCaseData(Small() with { Width = 100 }, "width: 100 is not a positive multiple of 8; try 96");
        yield return new TestCaseData(Small() with { Height = -8 }, "height: -8 is not a positive multiple of 8; try 8");
        yield return new TestCaseData(Small() with { Width = 1 << 20 }, "width: 1048576 is more than 16384 pixels");
        yield return new TestCaseData(Small() with { Steps = 0 }, "steps: 0 is not between 1 and 1000");
        yield return new TestCaseData(Small() with { Steps = -5 }, "steps: -5 is not between 1 and 1000");
        yield return new TestCaseData(Small() with { GuidanceScale = double.NaN }, "guidance scale: NaN is not a finite number");
        yield return new TestCaseData(Small() with { Eta = 2 }, "eta: 2 is not between 0 and 1");
        yield return new TestCaseData(Small() with { ImagesPerPrompt = 0 }, "images per prompt: 0 is not between 1 and 1000");
        yield return new TestCaseData(Small() with { ClipSkip = 99 }, "clip skip: it leaves no layer of the text encoder, which has 3");
        yield return new TestCaseData(Small() with { Seeds = [1, 2] }, "seeds: 2 were given for 1 images; give one per image");
        yield return new TestCaseData(Small() with { NegativePrompts = ["a", "b"] }, "NegativePrompts: 2 were given for 1 prompts");
        yield return new TestCaseData(Small() with { Latents = new FloatTensor(1, 4, 4, 4) }, "latents: float32[1,4,4,4] do not fit");
        yield return new TestCaseData(new GenerationRequest([]), "prompt: at least one is needed");
    }

    [TestCaseSource(nameof(BadRequests))]
    public void Generate_BadRequest_OneSentenceSaysWhat(GenerationRequest request, string message) =>
        Assert.That(() => _pipeline.Generate(request), Throws.ArgumentException.With.Message.Contains(message));

    [Test]
    public void Load_NoSuchFolder_NamesThePlacesLookedAt() =>
        Assert.That(() => StableDiffusionPipeline.Load("models/none", Device.Auto), Throws.InstanceOf<FileNotFoundException>().With.Message.Contains("models/none"));

    [Test]
    public void Load_OtherFamily_NamedAsSuch()
    {
        string folder = Directory.CreateTempSubdirectory("sdn-").FullName;
        try
        {
            File.WriteAllText(Path.Combine(folder, "model_index.json"), """{"_class_name": "FluxPipeline"}""");
            Assert.That(() => StableDiffusionPipeline.Load(folder, Device.Auto), Throws.InstanceOf<NotSupportedException>().With.Message.Contains("FluxPipeline"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void Load_UnetOfUnknownInput_RefusedAndNothingLeaks()
    {
        long live = NativeLibraryLocator.LiveHandles;
        var source = new RandomWeightSource();
        UnetConfig config = _pipeline.Components.Unet.Config with { InChannels = 7 };
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(config, source, Device.Auto);
        Assert.That(() => new StableDiffusionPipeline(_pipeline.Components with { Unet = unet }),
            Throws.InstanceOf<NotSupportedException>().With.Message.Contains("7 channels"));
        unet.Dispose();
        Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(live));
    }

    [Test]
    public void Generate_AfterDispose_Throws()
    {
        var pipeline = new StableDiffusionPipeline(_pipeline.Components);
        pipeline.Dispose();
        Assert.That(() => pipeline.Generate(Small()), Throws.InstanceOf<ObjectDisposedException>());
    }

    private sealed class Collect(Action<GenerationProgress> add) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) => add(value);
    }
}
