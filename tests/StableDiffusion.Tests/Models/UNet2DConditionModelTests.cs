using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>The UNet beyond its parity with PyTorch: any size and config, keys and values made ahead, bad shapes.</summary>
public sealed class UNet2DConditionModelTests
{
    private static readonly UnetConfig Config = new()
    {
        InChannels = 9,
        OutChannels = 4,
        BlockOutChannels = [8, 12, 16],
        DownBlockTypes = [UnetConfig.DownBlock, UnetConfig.CrossAttnDownBlock, UnetConfig.CrossAttnDownBlock],
        UpBlockTypes = [UnetConfig.CrossAttnUpBlock, UnetConfig.CrossAttnUpBlock, UnetConfig.UpBlock],
        LayersPerBlock = [1, 2, 1],
        TransformerLayersPerBlock = [[1], [0, 2], [1]],
        UpTransformerLayersPerBlock = [[1, 2], [1, 0, 1], [1, 1]],
        NormNumGroups = 4,
        NumAttentionHeads = [2, 5, 4], // 5 heads of 2 leave 2 of 12 channels out, as diffusers does
        CrossAttentionDim = [10, 10, 10],
        TimeCondProjDim = 6,
        TimeEmbeddingDim = 20,
        ConvInKernel = 5,
        ConvOutKernel = 1,
    };

    private Device _device = null!;
    private FixtureModels _models = null!;
    private UNet2DConditionModel _unet = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open("cpu", threads: 2);
        _models = new FixtureModels(_device, OwnFixtures.PathOf());
        _unet = UNet2DConditionModel.Load(Config, new RandomWeightSource(2), _device);
    }

    [OneTimeTearDown]
    public void Free()
    {
        _unet.Dispose();
        _models.Dispose();
        _device.Dispose();
    }

    [TestCase(1, 8, 8)]
    [TestCase(3, 5, 7)]
    [TestCase(2, 1, 1)]
    [TestCase(1, 2, 13)]
    public void Forward_AnySize_KeepsItAndTheMeasuredPeak(int batch, int height, int width)
    {
        Computed output = ModelRun.Evaluate(_device, run => _unet.Forward(run.Exec, run.Random(1, batch, height, width, 9), [500], run.Random(2, batch, 4, 10)));
        Assert.That(output.Shape, Is.EqualTo(new[] { batch, 4, height, width }));
        Assert.That(output.Values, Has.All.Matches<float>(float.IsFinite).And.Some.Not.Zero);
    }

    [Test]
    public void Forward_DownsamplePaddingZero_PadsBelowAndRight()
    {
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(Config with { DownsamplePadding = 0 }, new RandomWeightSource(2), _device);
        float[] other = ModelRun.Evaluate(_device, run => unet.Forward(run.Exec, run.Random(1, 1, 8, 8, 9), [500], run.Random(2, 1, 4, 10))).Values;
        float[] usual = ModelRun.Evaluate(_device, run => _unet.Forward(run.Exec, run.Random(1, 1, 8, 8, 9), [500], run.Random(2, 1, 4, 10))).Values;
        Assert.That(Tolerances.PeakError(other, usual), Is.GreaterThan(0.01), "the same weights over shifted pixels");
    }

    [Test]
    public void Forward_BatchOfTwo_IsEachAlone()
    {
        float[] both = ModelRun.Evaluate(_device, run => _unet.Forward(run.Exec, run.Random(1, 2, 6, 6, 9), [3, 700.5f], run.Random(2, 2, 5, 10))).Values;
        float[] Alone(int index, float timestep) => ModelRun.Evaluate(_device, run => _unet.Forward(
            run.Exec, run.Random(1, 2, 6, 6, 9).Slice(0, index, 1), [timestep], run.Random(2, 2, 5, 10).Slice(0, index, 1))).Values;
        Tolerances.AssertPeakError([.. Alone(0, 3), .. Alone(1, 700.5f)], both, [2, 4, 6, 6], ModelLimits.WholeModel, "entries alone against the batch");
    }

    [Test]
    public void Forward_OneTimestepOrOnePerEntry_IsTheSame()
    {
        float[] One(params float[] timesteps) => ModelRun.Evaluate(_device, run => _unet.Forward(run.Exec, run.Random(1, 2, 4, 4, 9), timesteps, run.Random(2, 2, 5, 10))).Values;
        Assert.That(One(321), Is.EqualTo(One(321, 321)));
        Assert.That(One(321), Is.Not.EqualTo(One(322)));
    }

    [Test]
    public void Forward_TimestepCondition_MattersAndIsOptional()
    {
        float[] Conditioned(int? seed) => ModelRun.Evaluate(_device, run => _unet.Forward(
            run.Exec, run.Random(1, 1, 4, 4, 9), [9], run.Random(2, 1, 5, 10), timestepCond: seed is { } number ? run.Random(number, 1, 6) : default)).Values;
        Assert.That(Conditioned(null), Is.Not.EqualTo(Conditioned(1)));
        Assert.That(Conditioned(2), Is.Not.EqualTo(Conditioned(1)));
    }

    [TestCaseSource(typeof(OwnFixtures), nameof(OwnFixtures.Families))]
    public void Forward_ContextMadeAhead_IsBitIdenticalAndSavesItsWork(string family)
    {
        UNet2DConditionModel unet = _models.Unet(family);
        int width = unet.Config.CrossAttentionDim[0];
        long direct = 0, prepared = 0;
        float[] expected = ModelRun.Evaluate(_device, run =>
        {
            Tensor output = unet.Forward(run.Exec, run.Random(1, 2, 8, 6, 4), [400], run.Random(2, 2, 7, width), OwnFixtures.Added(run, unet.Config, 2));
            direct = run.Exec.Stats.Flops;
            return output;
        }).Values;
        Computed[] actual = ModelRun.Evaluate(_device, run =>
        {
            using UnetContext context = unet.PrepareContext(run.Exec, run.Random(2, 2, 7, width), OwnFixtures.Added(run, unet.Config, 2));
            Tensor first = unet.Forward(run.Exec, run.Random(1, 2, 8, 6, 4), [400], context);
            long before = run.Exec.Stats.Flops;
            Tensor second = unet.Forward(run.Exec, run.Random(1, 2, 8, 6, 4), [400], context);
            prepared = run.Exec.Stats.Flops - before;
            return [first, second];
        });
        Assert.Multiple(() =>
        {
            Assert.That(actual[0].Values, Is.EqualTo(expected));
            Assert.That(actual[1].Values, Is.EqualTo(expected), "a second step");
            Assert.That(prepared, Is.LessThan(direct), "matrix work of a step");
        });
    }

    [Test]
    public void Forward_WrongShapes_AreRefusedByName()
    {
        using Exec exec = Exec.Measure(_device);
        Tensor sample = exec.Alloc(DType.Float32, 2, 8, 8, 9), context = exec.Alloc(DType.Float32, 2, 7, 10);
        using UnetContext prepared = _unet.PrepareContext(exec, context);
        Assert.Multiple(() =>
        {
            Refused("sample must be [S,H,W,9]", () => _unet.Forward(exec, exec.Alloc(DType.Float32, 2, 8, 8, 4), [1], context));
            Refused("context must be [B,T,10]", () => _unet.Forward(exec, sample, [1], exec.Alloc(DType.Float32, 2, 7, 11)));
            Refused("batch of 2, but the context is one of 1", () => _unet.Forward(exec, sample, [1], exec.Alloc(DType.Float32, 1, 7, 10)));
            Refused("batch of 4, but the context is one of 2", () => _unet.Forward(exec, exec.Alloc(DType.Float32, 4, 8, 8, 9), [1], prepared));
            Refused("3 timesteps for a batch of 2", () => _unet.Forward(exec, sample, [1, 2, 3], context));
            Refused("[2,6], not Float32[2,7]", () => _unet.Forward(exec, sample, [1], context, timestepCond: exec.Alloc(DType.Float32, 2, 7)));
        });
    }

    [Test]
    public void Forward_AddedConditionsMissing_AreAskedFor()
    {
        UNet2DConditionModel unet = _models.Unet("sdxl");
        using Exec exec = Exec.Measure(_device);
        Tensor context = exec.Alloc(DType.Float32, 1, 7, unet.Config.CrossAttentionDim[0]);
        Refused("pooled text [1,P] and time ids [1,N] with P + 8 N = 88", () => unet.Forward(exec, exec.Alloc(DType.Float32, 1, 8, 8, 4), [1], context));
        Refused("pooled text", () => unet.PrepareContext(exec, context, new AddedConditions(exec.Alloc(DType.Float32, 1, 40), exec.Alloc(DType.Float32, 1, 5))));
    }

    private static void Refused(string reason, Action call) => Assert.That(() => call(), Throws.ArgumentException.With.Message.Contains(reason));
}
