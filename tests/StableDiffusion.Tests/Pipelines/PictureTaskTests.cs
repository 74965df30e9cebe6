using StableDiffusion.Imaging;
using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>What the tasks refuse, and what the fixtures from diffusers do not cover: variations, the second pass, the guidance interval, tiles, threads.</summary>
public sealed class PictureTaskTests
{
    private Device _device = null!;
    private StableDiffusionPipeline _pipeline = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open("cpu");
        _pipeline = StableDiffusionPipeline.Load(Fixtures.PathOf("models", "sd1"), _device);
    }

    [OneTimeTearDown]
    public void Unload()
    {
        _pipeline.Dispose();
        _device.Dispose();
    }

    private static GenerationRequest Small => new("a cat") { Steps = 4, Seed = 7, Width = 64, Height = 64, LatentsOnly = true, Scheduler = Scheduler.Create("DDIM") };

    private static RgbImage Picture(int width, int height) =>
        new(width, height, [.. Enumerable.Range(0, width * height * 3).Select(i => (byte)((i * 7) + (i / 90)))]);

    private static IEnumerable<TestCaseData> Unfit()
    {
        GenerationRequest image = Small with { Image = Picture(64, 64) };
        yield return new TestCaseData(Small with { Strength = 0.5 }, "strength: it says how much of an image is changed, but there is no image");
        yield return new TestCaseData(image with { Strength = 1.5 }, "strength: 1.5 is not between 0 and 1");
        yield return new TestCaseData(image with { Strength = 0 }, "strength: 0 of 4 steps is less than one step; take at least 0.25");
        yield return new TestCaseData(image with { Strength = 0.2 }, "strength: 0.2 of 4 steps is less than one step");
        yield return new TestCaseData(Small with { Mask = Picture(64, 64) }, "mask: it says what of an image is painted, but there is no image");
        yield return new TestCaseData(image with { Mask = Picture(64, 32) }, "mask: it is 64x32, the image 64x64; give a mask of the image's size");
        yield return new TestCaseData(image with { Depth = Picture(64, 64) }, "depth: this is no depth model");
        yield return new TestCaseData(image with { ImageGuidanceScale = 2 }, "image guidance scale: it is for instruction models");
        yield return new TestCaseData(image with { DenoisingStart = 0.5 }, "denoising start and end: they are for SDXL; use strength");
        yield return new TestCaseData(Small with { DenoisingStart = 0.5 }, "denoising start: it needs an image to go on from");
        yield return new TestCaseData(Small with { DenoisingEnd = 1 }, "denoising end: 1 is not above 0 and below 1");
        yield return new TestCaseData(Small with { Variation = new Variation(1, 2) }, "variation strength: 2 is not between 0 and 1");
        yield return new TestCaseData(Small with { GuidanceInterval = (0.8, 0.2) }, "guidance interval: 0.8 to 0.2 is not a part of 0 to 1");
        yield return new TestCaseData(Small with { Hires = new HiresPass { Scale = 1 } }, "hires scale: 1 is not above 1 and at most 8");
        yield return new TestCaseData(Small with { Hires = new HiresPass { Width = 128 } }, "hires size: give both width and height, or neither");
        yield return new TestCaseData(Small with { Hires = new HiresPass { Width = 100, Height = 96 } }, "hires size: 100x96 is not made of positive multiples of 8");
        yield return new TestCaseData(image with { Mask = Picture(64, 64), Hires = new HiresPass() }, "hires: a second pass is for models of 4 channels, without a mask");
        yield return new TestCaseData(image with { ImagesPerPrompt = 3, Image = SourceImage.FromPictures(Picture(64, 64), Picture(64, 64)) }, "image: 2 were given for 3 images");
        yield return new TestCaseData(Small with { Image = SourceImage.FromLatents(new FloatTensor(1, 4, 4, 4)) }, "image: latents float32[1,4,4,4] do not fit");
    }

    [TestCaseSource(nameof(Unfit))]
    public void Generate_RequestThatDoesNotFit_OneSentenceSaysWhat(GenerationRequest request, string message) =>
        Assert.That(() => _pipeline.Generate(request), Throws.ArgumentException.With.Message.Contains(message));

    [TestCase(9, "mask: this is a model for inpainting (its UNet takes 9 channels); give an image and a mask")]
    [TestCase(8, "image: this is a model for instructions (its UNet takes 8 channels); give the image to change")]
    [TestCase(5, "depth: this is a depth model (its UNet takes 5 channels); give an image and its depth map")]
    public void Generate_SpecialModelFromTextAlone_SaysWhatItIsAndWhatFits(int channels, string message)
    {
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(_pipeline.Components.Unet.Config with { InChannels = channels }, new RandomWeightSource(), _device);
        using var special = new StableDiffusionPipeline(_pipeline.Components with { Unet = unet });
        Assert.That(() => special.Generate(Small), Throws.ArgumentException.With.Message.Contains(message));
        // And with what it asks for it draws; the arena is the plan's, so the plan covers it.
        RgbImage picture = Picture(64, 64);
        GenerationRequest fitting = Small with { Image = picture, Mask = channels == 9 ? picture : null, Depth = channels == 5 ? picture : null };
        using GenerationResult result = special.Generate(fitting with { GuidanceInterval = (0, 0.3) });
        Assert.That(result.Latents.Values, Has.All.Matches<float>(float.IsFinite));
    }

    [Test]
    public void Pictures_OfTwoSizes_CannotBeOneBatch() =>
        Assert.That(() => SourceImage.FromPictures(Picture(64, 64), Picture(32, 64)), Throws.ArgumentException.With.Message.Contains("64x64 and 32x64"));

    [Test]
    public void Generate_ImageWithoutSize_TakesThePicturesRoundedDown()
    {
        GenerationRequest request = Small with { Width = null, Height = null, Image = Picture(71, 50) };
        Assert.That(Latents(request).Shape, Is.EqualTo(new[] { 1, 4, 6, 8 }));
    }

    [Test]
    public void Generate_ImageToImage_TellsStrengthAndGoesThroughAllPhases()
    {
        var seen = new List<GenerationPhase>();
        using GenerationResult result = _pipeline.Generate(Small with { Image = Picture(64, 64), Strength = 0.5, LatentsOnly = false }, new Seen(p => seen.Add(p.Phase)));
        Assert.That(seen.Distinct(), Is.EqualTo(Enum.GetValues<GenerationPhase>()));
        Assert.That(result.Parameters[0].Other, Does.Contain(KeyValuePair.Create("Denoising strength", "0.5")));
    }

    [Test]
    public void Generate_Variation_EndsAreTheTwoSeedsAndBetweenIsNeither()
    {
        float[] first = Latents(Small).Values, second = Latents(Small with { Seed = 9 }).Values;
        float[] At(double strength) => Latents(Small with { Variation = new Variation(9, strength) }).Values;
        Assert.That(At(0), Is.EqualTo(first));
        Assert.That(At(1), Is.EqualTo(second));
        Assert.That(At(0.4), Is.Not.EqualTo(first).And.Not.EqualTo(second));
    }

    [Test]
    public void Variation_Between_IsTheWebUisSlerp()
    {
        // The web UIs' slerp (AUTOMATIC1111, modules/rng.py) in PyTorch 2.6, which takes the norm along the height of a [C,h,w] tensor.
        var low = new FloatTensor([1, -2, 0.5f, 3], 1, 1, 2, 2);
        var high = new FloatTensor([-1, 0.25f, 2, 1], 1, 1, 2, 2);
        Assert.That(new Variation(0, 0.3).Between(low, high).Values, Is.EqualTo(new[] { 0.43701598f, -1.4046832f, 1.3534844f, 2.5665753f }).Within(1e-6));
        Assert.That(new Variation(0, 0.3).Between(low, low.Scale(1.01)).Values, Is.EqualTo(new[] { 1.007f, -2.014f, 0.5035f, 3.021f }).Within(1e-6), "nearly equal");
    }

    // torch.nn.functional.interpolate(size=(3, 5), align_corners=False) of [[1,2,4],[8,-3,0.5]], PyTorch 2.6.
    private static readonly object[] s_interpolated =
    [
        new object[] { LatentUpscale.Nearest, new[] { 1, 1, 2, 2, 4, 1, 1, 2, 2, 4, 8, 8, -3, -3, 0.5f } },
        new object[] { LatentUpscale.Bilinear, new[] { 1, 1.4000001f, 2, 3.2000003f, 4, 4.5f, 2.4999998f, -0.5f, 1.1500003f, 2.25f, 8, 3.5999997f, -3, -0.89999956f, 0.5f } },
        new object[] { LatentUpscale.Bicubic, new[] { 0.1963615f, 1.0499032f, 2.4340289f, 3.7253418f, 4.4833226f, 4.9800014f, 2.3619986f, -0.5f, 0.8230024f, 2.5140007f, 9.7636414f, 3.6740947f, -3.4340272f, -2.0793347f, 0.54468137f } },
    ];

    [TestCaseSource(nameof(s_interpolated))]
    public void Resize_EachMode_IsTorchs(LatentUpscale mode, float[] expected) =>
        Assert.That(Interpolation.Resize(new FloatTensor([1, 2, 4, 8, -3, 0.5f], 1, 1, 2, 3), 3, 5, mode).Values, Is.EqualTo(expected).Within(2e-6));

    [Test]
    public void DepthMap_FlatOne_IsRefused() =>
        Assert.That(() => DepthMap.FromValues(new FloatTensor(1, 1, 8, 8)).ToLatentSize(4, 4), Throws.ArgumentException.With.Message.Contains("needs near and far parts"));

    [Test]
    public void Generate_Hires_DrawsAgainLargerFromTheSameGenerator()
    {
        var steps = new List<(int Index, int Width)>();
        var hires = new HiresPass { Scale = 1.6, Steps = 6, Strength = 0.5 };
        GenerationRequest request = Small with { Height = 48, LatentsOnly = false };
        using GenerationResult result = _pipeline.Generate(request with { Hires = hires, StepEnd = step => steps.Add((step.Index, step.Latents[3])) });
        Assert.That((result.Images[0].Width, result.Images[0].Height), Is.EqualTo((96, 72)), "102.4 and 76.8, rounded down to a multiple of 8");
        Assert.That(steps, Is.EqualTo(new[] { (-1, 8), (0, 8), (1, 8), (2, 8), (3, 8), (3, 12), (4, 12), (5, 12), (6, 12) }), "3 of 6 steps in the second pass");
        Assert.That(result.Parameters[0].Other, Does.Contain(KeyValuePair.Create("Hires upscale", "1.6")).And.Contain(KeyValuePair.Create("Hires steps", "6")));

        // The same by hand: the second pass is image to image from the enlarged latents, with the generator's next draw as noise.
        var generator = new StableDiffusion.Random.TorchCpuGenerator(7);
        FloatTensor first = new(1, 4, 6, 8), next = new(1, 4, 9, 12);
        generator.Normal(first.Values);
        generator.Normal(next.Values);
        FloatTensor small = Latents(request with { Latents = first, LatentsOnly = true });
        FloatTensor large = Latents(request with
        {
            Height = null,
            Width = null,
            LatentsOnly = true,
            Image = SourceImage.FromLatents(Interpolation.Resize(small, 9, 12, LatentUpscale.Bilinear)),
            Latents = next,
            Steps = 6,
            Strength = 0.5,
        });
        Assert.That(result.Latents.Values, Is.EqualTo(large.Values));
    }

    [Test]
    public void Generate_GuidanceInterval_GuidesThatPartOnly()
    {
        List<float[]> Steps(GenerationRequest request)
        {
            var latents = new List<float[]>();
            _pipeline.Generate(request with { StepEnd = step => latents.Add(step.Latents.Values) }).Dispose();
            return latents;
        }
        List<float[]> guided = Steps(Small), whole = Steps(Small with { GuidanceInterval = (0, 1) });
        List<float[]> none = Steps(Small with { GuidanceInterval = (1, 1) }), unguided = Steps(Small with { GuidanceScale = 1 });
        List<float[]> half = Steps(Small with { GuidanceInterval = (0, 0.5) });
        Assert.That(whole, Is.EqualTo(guided), "bit for bit");
        Assert.That(none, Is.EqualTo(unguided), "the prompt alone");
        Assert.That(half.Take(4), Is.EqualTo(guided.Take(4)), "steps 0 to floor(4 * 0.5) are guided");
        Assert.That(half[4], Is.Not.EqualTo(guided[4]));
    }

    [TestCase(0.0, 1.0, 10)]
    [TestCase(0.0, 0.4, 5)]
    [TestCase(0.25, 0.5, 4)]
    [TestCase(1.0, 1.0, 0)]
    public void IsOn_TenCalls_CountsBothEnds(double start, double end, int expected) =>
        Assert.That(Enumerable.Range(0, 10).Count(i => Guidance.IsOn((start, end), i, 10)), Is.EqualTo(expected));

    [Test]
    public void Generate_EncoderDoesNotFit_EncodesInTilesAndSaysSo()
    {
        PipelineComponents parts = _pipeline.Components;
        GenerationRequest request = Small with { Width = 528, Height = 576, Image = Picture(528, 576), Steps = 2, Strength = 0.5, GuidanceScale = 1 };
        GenerationShape shape = new(1, 1, false, 1, 576, 528, 72, 66, 4, 77);
        MemoryPlan plan = MemoryPlan.Measure(parts, shape, 1, encodes: true, decodes: false, encodings: 1);
        long whole = plan.TotalBytes, tiled = (plan with { TiledEncode = true }).TotalBytes;
        Assert.That(tiled, Is.LessThan(whole));
        using var limited = new StableDiffusionPipeline(parts with { MemoryLimitBytes = parts.WeightBytes + ((whole + tiled) / 2) });
        using GenerationResult result = limited.Generate(request), asked = _pipeline.Generate(request with { VaeTiling = true }), one = _pipeline.Generate(request);
        Assert.That(result.Warnings, Has.Count.EqualTo(1).And.Some.Contains("encoder did not fit"));
        Assert.That(one.Warnings, Is.Empty);
        Assert.That(result.Latents.Values, Is.EqualTo(asked.Latents.Values));
        Assert.That(result.Latents.Values, Is.Not.EqualTo(one.Latents.Values));
    }

    [Test]
    public void Generate_CancelledWhileEncoding_ThrowsAndWorksAgain()
    {
        using var cancellation = new CancellationTokenSource();
        var cancel = new Seen(progress => { if (progress.Phase == GenerationPhase.Encoding) { cancellation.Cancel(); } });
        GenerationRequest request = Small with { Image = Picture(64, 64) };
        Assert.That(() => _pipeline.Generate(request, cancel, cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Latents(request).Shape, Is.EqualTo(new[] { 1, 4, 8, 8 }));
    }

    [Test]
    public void Generate_InpaintingFromTwoThreads_SameAsOneByOne()
    {
        RgbImage picture = Picture(64, 64);
        float[] Draw(int seed) => Latents(Small with { Image = picture, Mask = picture, Seed = (ulong)seed }).Values;
        float[][] alone = [Draw(0), Draw(1)], together = new float[2][];
        Parallel.For(0, 2, i => together[i] = Draw(i));
        Assert.That(together, Is.EqualTo(alone));
    }

    private FloatTensor Latents(GenerationRequest request)
    {
        using GenerationResult result = _pipeline.Generate(request);
        return result.Latents;
    }

    private sealed class Seen(Action<GenerationProgress> seen) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) => seen(value);
    }
}
