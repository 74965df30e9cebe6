using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>Layers built alone, as benchmarks build them.</summary>
public sealed class LayerTests
{
    private Device _device = null!;

    [OneTimeSetUp]
    public void Open() => _device = Device.Open("cpu", threads: 2);

    [OneTimeTearDown]
    public void Close() => _device.Dispose();

    [TestCase(8, TestName = "ResnetBlock2D_SkipAndShortcut_IsTheJoinedInput")]
    [TestCase(16, TestName = "ResnetBlock2D_SkipAndNoShortcut_IsTheJoinedInput")]
    public void ResnetBlock2D_Skip_IsTheJoinedInput(int outputs)
    {
        (LayerBuilder builder, ResnetBlock2D resnet) = Declare(root => new ResnetBlock2D(root["resnets"][0], 16, outputs, 12, 4, 1e-5f));
        builder.Load();
        using (resnet)
        {
            Computed parts = ModelRun.Evaluate(_device, run => resnet.Forward(run.Exec, Part(run, 0, 10), new TimeContext(run.Random(2, 2, 12)), Part(run, 10, 6)));
            Computed joined = ModelRun.Evaluate(_device, run => resnet.Forward(run.Exec, run.Random(1, 2, 5, 3, 16), new TimeContext(run.Random(2, 2, 12))));
            Assert.That(resnet.Children.Any(child => child.Path.EndsWith("conv_shortcut")), Is.EqualTo(outputs != 16));
            Tolerances.AssertPeakError(parts.Values, joined.Values, parts.Shape, ModelLimits.WholeModel, "in two parts against in one");
        }

        static Tensor Part(ModelRun run, int start, int count) => run.Later(run.Exec.Contiguous(run.Random(1, 2, 5, 3, 16).Slice(-1, start, count)));
    }

    [TestCase(7, 5, 4, 3)]
    [TestCase(8, 6, 4, 3)]
    public void Downsample2D_PaddingOne_RoundsUp(int height, int width, int outHeight, int outWidth) =>
        Assert.That(Sample(root => new Downsample2D(root["down"], 4, padding: 1), (layer, exec, x) => layer.Forward(exec, x), height, width), Is.EqualTo(new[] { 1, 4, outHeight, outWidth }));

    [TestCase(7, 5, 3, 2)]
    [TestCase(8, 6, 4, 3)]
    public void Downsample2D_PaddingZero_RoundsDown(int height, int width, int outHeight, int outWidth) =>
        Assert.That(Sample(root => new Downsample2D(root["down"], 4, padding: 0), (layer, exec, x) => layer.Forward(exec, x), height, width), Is.EqualTo(new[] { 1, 4, outHeight, outWidth }));

    [Test]
    public void Upsample2D_GivenSize_IsThatSize() =>
        Assert.That(Sample(root => new Upsample2D(root["up"], 4), (layer, exec, x) => layer.Forward(exec, x, (7, 10)), 4, 5), Is.EqualTo(new[] { 1, 4, 7, 10 }));

    [Test]
    public void Find_EveryLayer_IsFoundByItsPath()
    {
        (_, Transformer2DModel transformer) = Declare(root => new Transformer2DModel(root["attentions"][0], 8, 2, 2, 6, 4, linearProjection: true));
        string[] paths = [.. Paths(transformer)];
        Assert.Multiple(() =>
        {
            Assert.That(paths, Is.Unique.And.Contains("attentions.0.transformer_blocks.1.attn2.to_out.0").And.Contains("attentions.0.transformer_blocks.0.ff.net.0"));
            Assert.That(paths.Select(path => transformer.Find(path).Path), Is.EqualTo(paths));
            Assert.That(() => transformer.Find("attentions.0.transformer_blocks.2"), Throws.TypeOf<KeyNotFoundException>().With.Message.Contains("attentions.0.transformer_blocks.1"));
            Assert.That(() => transformer.Find("attentions.0.transformer_blocks.0.attn"), Throws.TypeOf<KeyNotFoundException>());
        });

        static IEnumerable<string> Paths(Layer layer) => layer.Children.SelectMany(Paths).Prepend(layer.Path);
    }

    [Test]
    public void LayerBuilder_PlaceTakenTwice_IsAMistakeOfTheModel()
    {
        var builder = new LayerBuilder(_device, DType.Float32, new WeightScope(new RandomWeightSource()));
        LayerBuilder place = builder["norm"];
        _ = new LayerNorm(place, 4);
        Assert.That(() => new LayerNorm(place, 4), Throws.InvalidOperationException.With.Message.Contains("'norm' is already"));
    }

    [Test]
    public void GroupNorm_ChannelsThatDoNotDivide_AreRefused() => Assert.That(
        () => Declare(root => new GroupNorm(root["norm"], 10, 4, 1e-5f)), Throws.ArgumentException.With.Message.Contains("'norm': 10 channels cannot be divided into 4 groups"));

    private int[] Sample<TLayer>(Func<LayerBuilder, TLayer> declare, Func<TLayer, Exec, Tensor, Tensor> forward, int height, int width) where TLayer : Layer
    {
        (LayerBuilder builder, TLayer layer) = Declare(declare);
        builder.Load();
        using (layer)
        {
            return ModelRun.Evaluate(_device, run => forward(layer, run.Exec, run.Random(1, 1, height, width, 4))).Shape;
        }
    }

    private (LayerBuilder Builder, TLayer Layer) Declare<TLayer>(Func<LayerBuilder, TLayer> declare)
    {
        var builder = new LayerBuilder(_device, DType.Float32, new WeightScope(new RandomWeightSource(4)));
        return (builder, declare(builder));
    }
}
