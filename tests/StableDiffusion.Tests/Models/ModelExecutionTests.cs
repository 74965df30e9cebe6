using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>What holds for every model on every device: thread counts, concurrency, weight storage, tracing.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Fast))]
public sealed class ModelExecutionTests(string deviceName)
{
    private static readonly string[] Parts = ["unet", "vae", "text_encoder"];

    [Test]
    public void Forward_OneThreadOrTwo_IsBitIdentical([ValueSource(nameof(Parts))] string part)
    {
        float[] With(int threads)
        {
            using var device = Device.Open(deviceName, threads);
            using var model = new Model(part, device, DType.Float32);
            return model.Evaluate(device);
        }
        Assert.That(With(2), Is.EqualTo(With(1)));
    }

    [Test]
    public void Forward_TwoThreadsAtOnce_EachGetsWhatItWouldAlone([ValueSource(nameof(Parts))] string part)
    {
        using var device = Device.Open(deviceName, threads: 2);
        using var model = new Model(part, device, DType.Float32);
        float[] expected = model.Evaluate(device);
        var results = new float[4][];
        Parallel.For(0, results.Length, new ParallelOptions { MaxDegreeOfParallelism = 2 }, i => results[i] = model.Evaluate(device));
        Assert.That(results, Is.All.EqualTo(expected));
    }

    [Test]
    public void Forward_HalfStorage_StaysWithinTheRoundingOfTheWeights(
        [ValueSource(nameof(Parts))] string part, [Values(DType.Float16, DType.BFloat16)] DType storage)
    {
        using var device = Device.Open(deviceName, threads: 2);
        using var full = new Model(part, device, DType.Float32);
        using var half = new Model(part, device, storage);
        Assert.That(half.WeightBytes, Is.LessThan(full.WeightBytes));
        float[] expected = full.Evaluate(device), actual = half.Evaluate(device);
        double limit = ModelLimits.RoundedWeights(storage == DType.Float16 ? ModelLimits.Float16 : ModelLimits.BFloat16);
        Tolerances.AssertPeakError(actual, expected, [actual.Length], limit, $"{part} in {storage}");
        Assert.That(actual, Is.Not.EqualTo(expected), "rounded weights show");
    }

    [Test]
    public void Forward_WeightsThatAreHalfAlready_LoseNothingInHalfStorage([Values(WeightDType.Float16, WeightDType.BFloat16)] WeightDType stored)
    {
        using var device = Device.Open(deviceName, threads: 2);
        UnetConfig config = UnetConfig.Read(OwnFixtures.PathOf("models", "sd1", "unet"));
        float[] With(DType storage)
        {
            using UNet2DConditionModel unet = UNet2DConditionModel.Load(config, new RandomWeightSource(1, stored), device, storage);
            return ModelRun.Evaluate(device, run => unet.Forward(run.Exec, run.Random(1, 1, 8, 8, 4), [100], run.Random(2, 1, 9, config.CrossAttentionDim[0]))).Values;
        }
        float[] expected = With(DType.Float32), actual = With((DType)stored);
        Tolerances.AssertPeakError(actual, expected, [actual.Length], ModelLimits.WholeModel, $"{stored} kept as it is against {stored} kept as float32");
    }

    [Test]
    public void Forward_WithTrace_EveryOpIsInsideALayerThatCanBeFound()
    {
        using var device = Device.Open(deviceName, threads: 2);
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(OwnFixtures.PathOf("models", "sd1", "unet"), device);
        using Exec exec = Exec.Measure(device);
        var trace = new FlopTrace();
        exec.Trace = trace;
        Tensor sample = exec.Alloc(DType.Float32, 1, 8, 8, 4), context = exec.Alloc(DType.Float32, 1, 7, unet.Config.CrossAttentionDim[0]);
        unet.Forward(exec, sample, [1], context).Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(trace.Open, Is.Empty, "layers that began and did not end");
            Assert.That(trace.Flops.Values.Sum(), Is.EqualTo(exec.Stats.Flops), "matrix work of all layers, each without those inside it");
            Assert.That(trace.Flops.Keys.Where(path => unet.Find(path).Path != path), Is.Empty);
            Assert.That(trace.Flops, Does.ContainKey("down_blocks.0.attentions.0.transformer_blocks.0.attn1"));
        });
    }

    /// <summary>One of the fixtures' models and what it makes of some input.</summary>
    private sealed class Model : IDisposable
    {
        private readonly Layer _layer;

        public Model(string part, Device device, DType storage)
        {
            string folder = OwnFixtures.PathOf("models", "sd1", part);
            _layer = part switch
            {
                "unet" => UNet2DConditionModel.Load(folder, device, storage),
                "vae" => AutoencoderKL.Load(folder, device, storage),
                _ => ClipTextModel.Load(folder, device, storage),
            };
        }

        public long WeightBytes => _layer.WeightBytes;

        public float[] Evaluate(Device device) => [.. ModelRun.Evaluate(device, run => _layer switch
        {
            UNet2DConditionModel unet => [unet.Forward(run.Exec, run.Random(1, 2, 9, 7, 4), [321], run.Random(2, 2, 11, unet.Config.CrossAttentionDim[0]))],
            AutoencoderKL vae => [vae.Decode(run.Exec, run.Random(1, 1, 5, 3, 4)), vae.EncodeMoments(run.Exec, run.Random(2, 1, 17, 24, 3))],
            ClipTextModel encoder => (IReadOnlyList<Tensor>)[encoder.Forward(run.Exec, [[598, 1, 2, 3, 599], [598, 9, 599, 599, 599]]).LastHiddenState],
            _ => throw new NotSupportedException($"{_layer}"),
        }).SelectMany(output => output.Values)];

        public void Dispose() => _layer.Dispose();
    }
}
