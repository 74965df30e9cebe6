using StableDiffusion.Imaging;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>What a step shows: the estimate without noise, and pictures of it by either way, on a processor and through the queue of a CUDA device.</summary>
[TestFixtureSource(nameof(Devices))]
public sealed class PreviewTests(string deviceName)
{
    private Device _device = null!;
    private PipelineComponents _linear = null!, _tiny = null!;

    private static IEnumerable<TestFixtureData> Devices => [TestDevices.Fixture("cpu"), .. TestDevices.Cuda];

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open(deviceName, threads: 2);
        _linear = PipelineComponents.Load(Fixtures.PathOf("models", "sd1"), _device);
        _tiny = _linear with { PreviewVae = Tiny() };
    }

    [OneTimeTearDown]
    public void Unload()
    {
        _tiny?.PreviewVae?.Dispose();
        _linear?.DisposeParts();
        _device?.Dispose();
    }

    private static GenerationRequest Small(int steps = 2) =>
        new("a cat") { Steps = steps, Seed = 7, Width = 32, Height = 16, GuidanceScale = 1, ImagesPerPrompt = 2, Scheduler = Scheduler.Create("EulerDiscrete") };

    [TestCase(false)]
    [TestCase(true)]
    public void Preview_EachStep_LeavesThePictureAlone(bool tiny)
    {
        using var pipeline = new StableDiffusionPipeline(tiny ? _tiny : _linear);
        var sizes = new List<(int, int, int)>();
        using GenerationResult plain = pipeline.Generate(Small());
        using GenerationResult watched = pipeline.Generate(Small() with
        {
            StepEnd = step =>
            {
                if (step.Index >= 0)
                {
                    IReadOnlyList<RgbImage> pictures = step.Preview();
                    sizes.Add((pictures.Count, pictures[1].Width, pictures[1].Height));
                }
            },
        });
        Assert.That(sizes, Is.EqualTo(new[] { (2, 32, 16), (2, 32, 16) }));
        Assert.That(watched.Latents.Values, Is.EqualTo(plain.Latents.Values));
        Assert.That(watched.Images[1].Pixels.ToArray(), Is.EqualTo(plain.Images[1].Pixels.ToArray()));
    }

    [Test]
    public void Preview_WithATinyVae_IsTheDecodedEstimate()
    {
        using var pipeline = new StableDiffusionPipeline(_tiny);
        byte[] seen = [];
        FloatTensor? original = null;
        pipeline.Generate(Small(steps: 1) with { LatentsOnly = true, StepEnd = Look }).Dispose();
        FloatTensor decoded = _tiny.PreviewVae!.Decode(_device, original!.Slice(1, 1));
        byte[] expected = [.. new FloatTensor(decoded.ToChannelsLast(), decoded.Values.Length).Values.Select(value => (byte)MathF.Round(255 * Math.Clamp((value * 0.5f) + 0.5f, 0, 1)))];
        Assert.That(seen, Is.EqualTo(expected));

        void Look(GenerationStep step)
        {
            if (step.Index == 0)
            {
                (seen, original) = (step.Preview()[1].Pixels.ToArray(), step.PredictedOriginal);
            }
        }
    }

    [Test]
    public void PredictedOriginal_LastStepOfEuler_IsTheResult()
    {
        // Euler's last step goes to sigma 0, that is, to the estimate: sample + (sample - estimate) / sigma * (0 - sigma), up to its rounding.
        using var pipeline = new StableDiffusionPipeline(_linear);
        FloatTensor? original = null;
        using GenerationResult result = pipeline.Generate(Small() with { LatentsOnly = true, StepEnd = step => original = step.Index == 1 ? step.PredictedOriginal : null });
        Tolerances.AssertPeakError(original!.Values, result.Latents.Values, [.. original.Shape], 1e-5, "the estimate");
    }

    [Test]
    public void Step_BeforeTheFirstAndAfterItsEnd_Refuses()
    {
        using var pipeline = new StableDiffusionPipeline(_linear);
        GenerationStep? kept = null;
        pipeline.Generate(Small(steps: 1) with { LatentsOnly = true, StepEnd = Look }).Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(() => kept!.Preview(), Throws.InvalidOperationException.With.Message.Contains("during its callback"));
            Assert.That(() => kept!.PredictedOriginal, Throws.InvalidOperationException);
            Assert.That(() => kept!.Latents, Throws.InvalidOperationException);
            Assert.That(() => kept!.ModelOutput, Throws.InvalidOperationException);
        });

        void Look(GenerationStep step)
        {
            kept = step;
            if (step.Index < 0)
            {
                Assert.That(() => step.Preview(), Throws.InvalidOperationException.With.Message.Contains("before the first step"));
                Assert.That(() => step.PredictedOriginal, Throws.InvalidOperationException);
            }
        }
    }

    [Test]
    public void MemoryPlan_WithATinyVae_HasRoomForThePreview()
    {
        var shape = new GenerationShape(1, 1, false, 1, 256, 256, 256 / _tiny.VaeScale, 256 / _tiny.VaeScale, 4, 77);
        MemoryPlan watched = MemoryPlan.Measure(_tiny, shape, 1, encodes: true, decodes: false, previews: true);
        MemoryPlan plain = MemoryPlan.Measure(_tiny, shape, 1, encodes: true, decodes: false);
        MemoryPlan linear = MemoryPlan.Measure(_linear, shape, 1, encodes: true, decodes: false, previews: true);
        Assert.That(watched.TotalBytes - plain.TotalBytes, Is.EqualTo(watched.Preview.Bytes).And.GreaterThan(0));
        Assert.That(linear.TotalBytes, Is.EqualTo(plain.TotalBytes));
        Assert.That(_tiny.WeightBytes - _linear.WeightBytes, Is.EqualTo(_tiny.PreviewVae!.WeightBytes).And.GreaterThan(0));
    }

    [Test]
    public void Pipeline_TinyVaeOfOtherLatents_IsRefusedByASentence()
    {
        using AutoencoderTiny wide = Tiny(config => config with { LatentChannels = 16 });
        Assert.That(() => new StableDiffusionPipeline(_linear with { PreviewVae = wide }), Throws.ArgumentException.With.Message.Contains("16 channels"));
    }

    /// <summary>A random one for the fixture models' latents.</summary>
    private AutoencoderTiny Tiny(Func<AutoencoderTinyConfig, AutoencoderTinyConfig>? change = null)
    {
        int levels = int.Log2(_linear.VaeScale) + 1;
        var config = new AutoencoderTinyConfig { EncoderChannels = 4, DecoderChannels = 4, EncoderBlocks = [.. Enumerable.Repeat(1, levels)], DecoderBlocks = [.. Enumerable.Repeat(1, levels)] };
        return AutoencoderTiny.Load(change?.Invoke(config) ?? config, new RandomWeightSource(3), _device);
    }
}
