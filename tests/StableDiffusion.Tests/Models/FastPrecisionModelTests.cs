using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>
/// Layers and models wide enough for the faster kernels of any instruction set, which the fixtures' models mostly are not: fast precision against
/// reference precision in float32 on the same weights, which the fixtures hold to PyTorch.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.FastPrecision))]
public sealed class FastPrecisionModelTests(string deviceName, DType storage, Precision precision)
{
    private const int Latents = 32, Words = 9, ContextWidth = 48;

    private static readonly UnetConfig Unet = new()
    {
        BlockOutChannels = [64, 128],
        DownBlockTypes = [UnetConfig.CrossAttnDownBlock, UnetConfig.DownBlock],
        UpBlockTypes = [UnetConfig.UpBlock, UnetConfig.CrossAttnUpBlock],
        LayersPerBlock = [1, 1],
        CrossAttentionDim = [ContextWidth, ContextWidth],
        TransformerLayersPerBlock = [[1], [1]],
        UpTransformerLayersPerBlock = [[1, 1], [1, 1]],
        NumAttentionHeads = [4, 4],
    };

    private static readonly VaeConfig Vae = new() { BlockOutChannels = [32, 64] };

    private Device _reference = null!, _fast = null!;

    [OneTimeSetUp]
    public void Open() => (_reference, _fast) = (Device.Open(deviceName), Device.Open(deviceName, 0, precision));

    [OneTimeTearDown]
    public void Close()
    {
        _reference?.Dispose();
        _fast?.Dispose();
    }

    [TestCase(32, 32)]
    [TestCase(37, 45, Description = "tiles that reach over both borders")]
    public void Conv2d_Fast_IsNearReference(int height, int width) =>
        Compare(builder => new Conv2d(builder["conv"], 80, 72), (layer, run) => layer.Forward(run.Exec, run.Random(1, 2, height, width, 80), run.Random(2, 2, 72), run.Random(3, 2, height, width, 72)));

    [Test]
    public void ResnetBlock2D_Fast_IsNearReference() =>
        Compare(builder => new ResnetBlock2D(builder["resnets"][0], 96, 64, 12, 4, 1e-5f),
            (layer, run) => layer.Forward(run.Exec, run.Random(1, 2, 32, 32, 64), new TimeContext(run.Random(2, 2, 12)), run.Random(3, 2, 32, 32, 32)));

    [Test]
    public void Upsample2D_Fast_IsNearReference() =>
        Compare(builder => new Upsample2D(builder["up"], 64), (layer, run) => layer.Forward(run.Exec, run.Random(1, 2, 24, 20, 64)));

    [Test]
    public void UNet2DConditionModel_Fast_IsNearReference() =>
        Compare(builder => new UNet2DConditionModel(builder, Unet), (layer, run) =>
            layer.Forward(run.Exec, run.Random(1, 2, Latents, Latents, 4), [17, 500], run.Random(2, 2, Words, ContextWidth)));

    [Test]
    public void AutoencoderKL_FastDecode_IsNearReference() =>
        Compare(builder => new AutoencoderKL(builder, Vae), (layer, run) => layer.Decode(run.Exec, run.Random(1, 1, Latents, Latents, 4)), part: "decoder");

    [Test]
    public void AutoencoderKL_FastEncode_IsNearReference() =>
        Compare(builder => new AutoencoderKL(builder, Vae), (layer, run) => layer.EncodeMoments(run.Exec, run.Random(1, 1, 2 * Latents, 2 * Latents, 3)), part: "encoder");

    /// <param name="declare">Declares the layer.</param>
    /// <param name="forward">Runs it.</param>
    /// <param name="part">The layer inside it that runs, where not all of it does.</param>
    private void Compare<TLayer>(Func<LayerBuilder, TLayer> declare, Func<TLayer, ModelRun, Tensor> forward, string? part = null)
        where TLayer : Layer
    {
        (Computed expected, double winograd) = Run(_reference, DType.Float32);
        (Computed actual, _) = Run(_fast, storage);
        Assert.That(actual.Values, Is.Not.EqualTo(expected.Values), "fast precision's kernels ran: equal results would say that the test has none of them in it");
        if (storage == DType.Float32)
        {
            double limit = ModelLimits.WholeModel + winograd;
            TestContext.Out.WriteLine($"{Tolerances.PeakError(actual.Values, expected.Values):G3}, {Tolerances.PeakError(actual.Values, expected.Values) / limit:F3} of the limit");
            Tolerances.AssertPeakError(actual.Values, expected.Values, expected.Shape, limit, typeof(TLayer).Name);
        }
        else
        {
            double limit = Tolerances.HalfPrecisionTypical(storage, actual.Ops, _fast.Info.ProductDTypeFor(storage)), error = Tolerances.TypicalError(actual.Values, expected.Values);
            TestContext.Out.WriteLine($"{error:P3}, {error / limit:F3} of the limit");
            Assert.That(error, Is.LessThanOrEqualTo(limit), typeof(TLayer).Name);
        }

        (Computed, double) Run(Device device, DType dtype)
        {
            var builder = new LayerBuilder(device, dtype, new WeightScope(new RandomWeightSource(4)));
            using TLayer layer = declare(builder);
            builder.Load();
            return (ModelRun.Evaluate(device, run => forward(layer, run)), Tolerances.Winograd(WinogradSums.Of(part is null ? layer : layer.Find(part))));
        }
    }
}
