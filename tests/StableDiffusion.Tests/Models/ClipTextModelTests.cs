using StableDiffusion.Models.Clip;
using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>The text encoder beyond its parity with PyTorch: what it computes on request, pooling, and bad ids.</summary>
public sealed class ClipTextModelTests
{
    private static readonly ClipTextConfig Config = new()
    {
        VocabSize = 50,
        HiddenSize = 12,
        IntermediateSize = 20,
        ProjectionDim = 7,
        NumHiddenLayers = 3,
        NumAttentionHeads = 3,
        MaxPositionEmbeddings = 9,
        EosTokenId = 40,
        WithProjection = true,
    };

    private Device _device = null!;
    private ClipTextModel _encoder = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open("cpu", threads: 2);
        _encoder = ClipTextModel.Load(Config, new RandomWeightSource(1), _device);
    }

    [OneTimeTearDown]
    public void Free()
    {
        _encoder.Dispose();
        _device.Dispose();
    }

    [TestCase(40, new[] { 39, 1, 40, 40, 2 }, 2)] // the first end token
    [TestCase(40, new[] { 39, 1, 45, 3, 2 }, 0)] // none: the first position
    [TestCase(2, new[] { 39, 2, 45, 3, 45 }, 2)] // an old config: the first of the highest id
    public void PoolerOutput_EndToken_IsTakenAsTransformersTakesIt(int eosTokenId, int[] ids, int position)
    {
        using ClipTextModel encoder = ClipTextModel.Load(Config with { EosTokenId = eosTokenId }, new RandomWeightSource(1), _device);
        Computed[] computed = ModelRun.Evaluate(_device, run =>
        {
            ClipTextOutput output = encoder.Forward(run.Exec, [[1, 2, 3, 4, 5], ids], new ClipTextRequest { PoolerOutput = true });
            return [output.LastHiddenState, output.PoolerOutput];
        });
        int row = ids.Length + position;
        Assert.That(computed[1].Values[Config.HiddenSize..], Is.EqualTo(computed[0].Values.AsSpan(row * Config.HiddenSize, Config.HiddenSize).ToArray()));
    }

    [Test]
    public void Forward_HiddenStates_CountFromBothEndsAndMissTheNorm()
    {
        int[] asked = [0, 1, 2, 3, -1, -2, -4];
        Computed[] computed = ModelRun.Evaluate(_device, run =>
        {
            ClipTextOutput output = _encoder.Forward(run.Exec, [[1, 2, 3]], new ClipTextRequest { HiddenStates = asked });
            return [.. asked.Select(output.HiddenState), output.LastHiddenState, _encoder.FinalLayerNorm.Forward(run.Exec, output.HiddenState(-1))];
        });
        Assert.Multiple(() =>
        {
            Assert.That(computed[4].Values, Is.EqualTo(computed[3].Values), "-1 is the last");
            Assert.That(computed[5].Values, Is.EqualTo(computed[2].Values), "-2 is the penultimate");
            Assert.That(computed[6].Values, Is.EqualTo(computed[0].Values), "-4 is the embeddings");
            Assert.That(computed[2].Values, Is.Not.EqualTo(computed[3].Values), "layers differ");
            Assert.That(computed[8].Values, Is.EqualTo(computed[7].Values), "the norm makes the last hidden state");
        });
    }

    [Test]
    public void Forward_PenultimateOnly_SkipsTheLastLayer()
    {
        long all = Flops(new ClipTextRequest()), penultimate = Flops(new ClipTextRequest { LastHiddenState = false, HiddenStates = [-2] });
        Assert.That(penultimate, Is.EqualTo(all / 3 * 2).And.Positive);
    }

    [Test]
    public void Forward_Output_IsDisposedInOneGo()
    {
        using Exec exec = Exec.Measure(_device);
        _encoder.Forward(exec, [[1, 2]], new ClipTextRequest { PoolerOutput = true, TextEmbeds = true, HiddenStates = [-1, 3, 0] }).Dispose();
        Assert.That(exec.Stats.LiveBytes, Is.Zero);
    }

    [Test]
    public void Forward_LaterToken_DoesNotChangeEarlierOnes()
    {
        float[] one = Encode([1, 2, 3, 4]), other = Encode([1, 2, 3, 9]);
        Assert.That(other[..(3 * Config.HiddenSize)], Is.EqualTo(one[..(3 * Config.HiddenSize)]), "attention is causal");
        Assert.That(other[(3 * Config.HiddenSize)..], Is.Not.EqualTo(one[(3 * Config.HiddenSize)..]));
    }

    [TestCase(new[] { 1, 50 }, "Token id 50 is outside the text encoder's vocabulary, 0..49")]
    [TestCase(new[] { -1, 5 }, "Token id -1 is outside")]
    [TestCase(new[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, "10 tokens, but the text encoder takes at most 9")]
    [TestCase(new int[0], "not empty")]
    public void Forward_BadIds_AreRefused(int[] ids, string reason)
    {
        using Exec exec = Exec.Measure(_device);
        Assert.That(() => _encoder.Forward(exec, [ids]), Throws.ArgumentException.With.Message.Contains(reason));
    }

    [Test]
    public void Forward_UnequalLengths_AreRefused()
    {
        using Exec exec = Exec.Measure(_device);
        Assert.That(() => _encoder.Forward(exec, [[1, 2], [1]]), Throws.ArgumentException.With.Message.Contains("equal length"));
    }

    [TestCase(4)]
    [TestCase(-5)]
    public void Forward_HiddenStateThatIsNot_IsRefused(int index)
    {
        using Exec exec = Exec.Measure(_device);
        Assert.That(() => _encoder.Forward(exec, [[1]], new ClipTextRequest { HiddenStates = [index] }), Throws.ArgumentException.With.Message.Contains("-4..3"));
    }

    [Test]
    public void Forward_TextEmbedsWithoutProjection_AreRefused()
    {
        using ClipTextModel plain = ClipTextModel.Load(Config with { WithProjection = false }, new RandomWeightSource(1), _device);
        using Exec exec = Exec.Measure(_device);
        Assert.That(() => plain.Forward(exec, [[1]], new ClipTextRequest { TextEmbeds = true }), Throws.ArgumentException.With.Message.Contains("no text projection"));
    }

    private float[] Encode(int[] ids) => ModelRun.Evaluate(_device, run => _encoder.Forward(run.Exec, [ids]).LastHiddenState).Values;

    private long Flops(ClipTextRequest request)
    {
        using Exec exec = Exec.Measure(_device);
        _encoder.Forward(exec, [[1, 2, 3]], request).Dispose();
        return exec.Stats.Flops;
    }
}
