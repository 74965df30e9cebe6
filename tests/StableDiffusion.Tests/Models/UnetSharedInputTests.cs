using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>
/// A UNet whose batch has several prompts for the same latents computes what they have in common once. On the CPU every output is the same sequence of
/// additions for any batch, so the result is that of the repeated latents, bit for bit.
/// </summary>
public sealed class UnetSharedInputTests
{
    private const int Tokens = 7;
    private Device _device = null!;
    private FixtureModels _models = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open("cpu", threads: 2);
        _models = new FixtureModels(_device, OwnFixtures.PathOf());
    }

    [OneTimeTearDown]
    public void Free()
    {
        _models.Dispose();
        _device.Dispose();
    }

    [Test]
    public void Forward_SharedSample_IsTheFullBatchBitForBit(
        [ValueSource(typeof(OwnFixtures), nameof(OwnFixtures.Families))] string family, [Values(1, 2)] int images, [Values(2, 3)] int parts)
    {
        UNet2DConditionModel unet = _models.Unet(family);
        (float[] expected, long full) = Evaluate(unet, images, parts, shared: false, [400]);
        (float[] actual, long shared) = Evaluate(unet, images, parts, shared: true, [400]);
        Assert.That(actual, Is.EqualTo(expected));
        Assert.That(shared, Is.LessThan(full), "matrix work");
    }

    [Test]
    public void Forward_SharedSample_SavesTheLayersBeforeTheFirstCrossAttention()
    {
        UNet2DConditionModel unet = _models.Unet("sd1");
        var trace = new FlopTrace();
        (_, long full) = Evaluate(unet, 1, 2, shared: false, [400], trace);
        (_, long shared) = Evaluate(unet, 1, 2, shared: true, [400]);
        const string Transformer = "down_blocks.0.attentions.0.", Block = Transformer + "transformer_blocks.0.";
        string[] common = ["conv_in", "down_blocks.0.resnets.0", Transformer + "proj_in", Block + "attn1", Block + "attn2.to_q"];
        long before = trace.Flops.Where(layer => common.Any(path => layer.Key == path || layer.Key.StartsWith(path + ".", StringComparison.Ordinal)))
            .Where(layer => !layer.Key.EndsWith("time_emb_proj", StringComparison.Ordinal)).Sum(layer => layer.Value);
        Assert.That(full - shared, Is.EqualTo(before / 2));
    }

    [TestCase(new float[] { 3, 700.5f }, TestName = "Forward_SharedSampleTimestepPerImage_IsTheFullBatch")]
    [TestCase(new float[] { 3, 700.5f, 20, 999 }, TestName = "Forward_SharedSampleTimestepPerEntry_IsTheFullBatch")]
    public void Forward_SharedSampleAndTimesteps_IsTheFullBatch(float[] timesteps)
    {
        foreach (string family in OwnFixtures.Families)
        {
            UNet2DConditionModel unet = _models.Unet(family);
            float[] each = [.. Enumerable.Range(0, 4).Select(i => timesteps[i % timesteps.Length])];
            Assert.That(Evaluate(unet, 2, 2, shared: true, timesteps).Values, Is.EqualTo(Evaluate(unet, 2, 2, shared: false, each).Values), family);
        }
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Forward_SharedSampleFirstAttentionFurtherDown_IsTheFullBatch(bool conditioned)
    {
        // Two levels, one with a transformer of no blocks, come before the first cross-attention: their skips are shared as well.
        UnetConfig config = new()
        {
            BlockOutChannels = [8, 12, 16],
            DownBlockTypes = [UnetConfig.DownBlock, UnetConfig.CrossAttnDownBlock, UnetConfig.CrossAttnDownBlock],
            UpBlockTypes = [UnetConfig.CrossAttnUpBlock, UnetConfig.CrossAttnUpBlock, UnetConfig.UpBlock],
            LayersPerBlock = [1, 2, 1],
            TransformerLayersPerBlock = [[1], [0, 2], [1]],
            UpTransformerLayersPerBlock = [[1, 2], [1, 0, 1], [1, 1]],
            NormNumGroups = 4,
            NumAttentionHeads = [2, 3, 4],
            CrossAttentionDim = [10, 10, 10],
            TimeCondProjDim = 6,
        };
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(config, new RandomWeightSource(2), _device);
        Assert.That(Evaluate(unet, 2, 3, shared: true, [9], null, conditioned).Values, Is.EqualTo(Evaluate(unet, 2, 3, shared: false, [9], null, conditioned).Values));
    }

    private (float[] Values, long Flops) Evaluate(UNet2DConditionModel unet, int images, int parts, bool shared, float[] timesteps, FlopTrace? trace = null, bool conditioned = false)
    {
        long batch = images * parts, flops = 0;
        UnetConfig config = unet.Config;
        Computed[] outputs = ModelRun.Evaluate(_device, run =>
        {
            Tensor sample = run.Random(1, images, 8, 6, config.InChannels), tokens = run.Random(2, batch, Tokens, config.CrossAttentionDim[0]);
            Tensor condition = conditioned ? run.Random(5, batch, config.TimeCondProjDim!.Value) : default;
            AddedConditions added = OwnFixtures.Added(run, config, batch);
            Tensor each = shared ? sample : run.Later(run.Exec.Repeated(sample, batch));
            run.Exec.Trace = run.Exec.IsMeasuring ? trace : null;
            using UnetContext context = unet.PrepareContext(run.Exec, tokens, added, condition);
            Tensor direct = unet.Forward(run.Exec, each, timesteps, tokens, added, condition);
            run.Exec.Trace = null;
            long before = run.Exec.Stats.Flops;
            Tensor prepared = unet.Forward(run.Exec, each, timesteps, context);
            flops = run.Exec.Stats.Flops - before;
            return [direct, prepared];
        });
        Assert.That(outputs[1].Values, Is.EqualTo(outputs[0].Values), "with the context made ahead");
        return (outputs[0].Values, flops);
    }
}
