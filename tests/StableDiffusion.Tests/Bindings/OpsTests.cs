using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Bindings;

/// <summary>
/// Each op once through the bindings, on numbers small enough to work out by hand (the comment beside them) and exact in float32: that every
/// argument arrives in its place. How well the ops compute is the native tests' affair.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.All))]
public class OpsTests(string deviceName)
{
    Device device = null!;
    Exec exec = null!;

    [SetUp]
    public void Open()
    {
        device = Device.Open(deviceName, threads: 2);
        exec = Exec.Create(device, 1 << 20);
    }

    [TearDown]
    public void Close()
    {
        exec?.Dispose();
        device?.Dispose();
    }

    [Test]
    public void Conv2d_WithBiasChannelAddAndResidual_SumsAll()
    {
        // A 3x3 kernel of ones over ones sees 4 pixels in a corner, 6 at an edge, 9 inside; bias 10, channel add 100, residual 1000.
        using Weight ones = HostValues.Weight(device, WeightKind.Conv2d, HostValues.View([1, 1, 3, 3], Repeat(1, 9)), 10);
        Tensor y = exec.Conv2d(exec.Floats([1, 3, 3, 1], Repeat(1, 9)), ones, (3, 3), Padding.All(1),
            channelAdd: exec.Floats([1, 1], 100), residual: exec.Floats([1, 3, 3, 1], Repeat(1000, 9)));
        Assert.That(exec.Values(y), Is.EqualTo(new[] { 1114f, 1116, 1114, 1116, 1119, 1116, 1114, 1116, 1114 }));
    }

    [Test]
    public void Conv2d_StrideTwoAsymmetricPadding_IsTheVaeEncodersDownsampling()
    {
        // F.pad(x, (0,1,0,1)): the window at (2,2) sees 4 of the 16 ones, those at its edges 6, the first 9.
        using Weight ones = HostValues.Weight(device, WeightKind.Conv2d, HostValues.View([1, 1, 3, 3], Repeat(1, 9)));
        Tensor y = exec.Conv2d(exec.Floats([1, 4, 4, 1], Repeat(1, 16)), ones, (3, 3), new Padding(0, 0, 1, 1), stride: 2);
        Assert.That((y.Shape, exec.Values(y)), Is.EqualTo((new long[] { 1, 2, 2, 1 }, new[] { 9f, 6, 6, 4 })));
    }

    [Test]
    public void Conv2d_UpsampledTo_RepeatsTheNearestPixel()
    {
        // 1x2 pixels resized to 2x3, where column c takes floor(c*2/3): 0, 0, 1. A 1x1 kernel of 2.
        using Weight two = HostValues.Weight(device, WeightKind.Conv2d, HostValues.View([1, 1, 1, 1], 2));
        Tensor y = exec.Conv2d(exec.Floats([1, 1, 2, 1], 5, 7), two, (1, 1), Padding.All(0), upsampleTo: (2, 3));
        Assert.That(exec.Values(y), Is.EqualTo(new[] { 10f, 10, 14, 10, 10, 14 }));
    }

    [Test]
    public void Linear_TwoInputsBiasAndResidual_SumsAll()
    {
        // rows of W: [1,2,3] and [4,5,6]; x = [1,10], x2 = [100]: 1+20+300 and 4+50+600, bias 0.5 and 1, residual 1000.
        using Weight weight = HostValues.Weight(device, WeightKind.Matrix, HostValues.View([2, 3], 1, 2, 3, 4, 5, 6), 0.5f, 1);
        Tensor y = exec.Linear(exec.Floats([1, 2], 1, 10), weight, x2: exec.Floats([1, 1], 100), residual: exec.Floats([1, 2], 1000, 1000));
        Assert.That(exec.Values(y), Is.EqualTo(new[] { 1321.5f, 1655 }));
    }

    [Test]
    public void Linear_StackedParts_AreOneWeight()
    {
        using Weight weight = Weight.Create(device, WeightKind.Matrix, DType.Float32,
            [HostValues.View([1, 2], 1, 0), HostValues.View([2, 2], 0, 1, 1, 1)]);
        Assert.That(exec.Values(exec.Linear(exec.Floats([1, 2], 3, 4), weight)), Is.EqualTo(new[] { 3f, 4, 7 }));
    }

    [Test]
    public void Linear_Geglu_IsValueTimesGeluOfGate()
    {
        // gelu is 0 at 0, and at 100 the identity in float32: value 3 x gates 0 and 100.
        using Weight weight = Weight.Create(device, WeightKind.Matrix, DType.Float32,
            [HostValues.View([2, 1], 3, 3), HostValues.View([2, 1], 0, 100)], geglu: true);
        Assert.That(exec.Values(exec.Linear(exec.Floats([1, 1], 1), weight, activation: Activation.Geglu)), Is.EqualTo(new[] { 0f, 300 }));
    }

    [TestCase(Activation.Silu)]
    [TestCase(Activation.Gelu)]
    [TestCase(Activation.QuickGelu)]
    [TestCase(Activation.Relu)]
    public void Activate_FarFromZero_IsZeroOrTheIdentity(Activation activation) => Assert.That(
        exec.Values(exec.Activate(exec.Floats([3], -200, 0, 200), activation)), Is.EqualTo(new[] { 0f, 0, 200 }).Within(1e-30f));

    [Test]
    public void Activate_IntoTheInput_Replaces()
    {
        Tensor x = exec.Floats([3], -200, 0, 200);
        exec.Activate(x, x, Activation.Tanh);
        Assert.That(exec.Values(x), Is.EqualTo(new[] { -1f, 0, 1 }));
    }

    [Test]
    public void Attention_EqualScores_AveragesValues()
    {
        // q = 0 makes all scores equal; two heads of one channel each.
        Tensor zero = exec.Floats([1, 2, 2], Repeat(0, 4)), v = exec.Floats([1, 2, 2], 2, 10, 4, 30);
        Assert.Multiple(() =>
        {
            Assert.That(exec.Values(exec.Attention(zero, zero, v, heads: 2)), Is.EqualTo(new[] { 3f, 20, 3, 20 }));
            Assert.That(exec.Values(exec.Attention(zero, zero, v, heads: 2, causal: true)), Is.EqualTo(new[] { 2f, 10, 3, 20 }));
        });
    }

    [Test]
    public void Attention_SlicesOfPackedQkv_ReadTheirColumns()
    {
        // One channel each of q | k | v; a scale of 1000 makes the softmax pick the largest key, which belongs to value 7.
        Tensor qkv = exec.Floats([1, 2, 3], 1, 1, 5, 1, 2, 7);
        Tensor y = exec.Attention(qkv.Slice(2, 0, 1), qkv.Slice(2, 1, 1), qkv.Slice(2, 2, 1), heads: 1, scale: 1000);
        Assert.That(exec.Values(y), Is.EqualTo(new[] { 7f, 7 }));
    }

    [Test]
    public void GroupNorm_OverASeam_NormalisesBothInputs()
    {
        // One group over the channels -1 | 1 of each pixel: mean 0, variance 1; scale 2 and 3, shift 1.
        using Weight weight = HostValues.Weight(device, WeightKind.Norm, HostValues.View([2], 2, 3), 1, 1);
        Tensor y = exec.GroupNorm(exec.Floats([1, 2, 1], -1, -1), weight, groups: 1, eps: 0, x2: exec.Floats([1, 2, 1], 1, 1));
        Assert.That(exec.Values(y), Is.EqualTo(new[] { -1f, 4, -1, 4 }));
    }

    [Test]
    public void LayerNorm_TwoValues_AreMinusOneAndOne()
    {
        using Weight weight = HostValues.Weight(device, WeightKind.Norm, HostValues.View([2], 2, 3), 10, 20);
        Assert.That(exec.Values(exec.LayerNorm(exec.Floats([2, 2], 3, 5, 8, 4), weight, 0)), Is.EqualTo(new[] { 8f, 23, 12, 17 }));
    }

    [Test]
    public void Embedding_TokensAndPositions_Add()
    {
        using Weight token = HostValues.Weight(device, WeightKind.Embedding, HostValues.View([3, 2], 1, 2, 3, 4, 5, 6));
        using Weight position = HostValues.Weight(device, WeightKind.Embedding, HostValues.View([2, 2], 10, 20, 30, 40));
        Tensor ids = exec.Upload<int>([2, 0], DType.Int32, 1, 2);
        Assert.That(exec.Values(exec.Embedding(ids, token, position)), Is.EqualTo(new[] { 15f, 26, 31, 42 }));
    }

    [Test]
    public void Embedding_IdOutsideTheTable_IsAnErrorOrNotANumber()
    {
        using Weight token = HostValues.Weight(device, WeightKind.Embedding, HostValues.View([3, 2], 1, 2, 3, 4, 5, 6));
        Tensor ids = exec.Upload<int>([3], DType.Int32, 1, 1);
        if (device.Kind == DeviceKind.Cpu)
        {
            Assert.That(() => exec.Embedding(ids, token), Throws.ArgumentException.With.Message.Contains("3"));
        }
        else
        {
            // The ids are on the device, where nothing can throw.
            Assert.That(exec.Values(exec.Embedding(ids, token)), Is.All.NaN);
        }
    }

    [Test]
    public void GatherRows_RepeatedRow_IsCopiedTwice() => Assert.That(
        exec.Values(exec.GatherRows(exec.Floats([2, 2], 1, 2, 3, 4), exec.Upload<int>([1, 0, 1], DType.Int32, 3))),
        Is.EqualTo(new[] { 3f, 4, 1, 2, 3, 4 }));

    [TestCase(true, new float[] { 1, 1, 0, 0, 0 })]
    [TestCase(false, new float[] { 0, 0, 1, 1, 0 })]
    public void TimestepEmbedding_OfZero_IsCosinesOfOneAndSinesOfZero(bool flip, float[] expected) => Assert.That(
        exec.Values(exec.TimestepEmbedding(exec.Floats([1], 0), 5, flip, downscaleFreqShift: 0)), Is.EqualTo(expected));

    [Test]
    public void LinearCombination_IntoAnInput_Sums()
    {
        Tensor x = exec.Floats([2], 1, 2), y = exec.Floats([2], 10, 20);
        exec.LinearCombination(x, [x, y], [3, -0.5]);
        Assert.That(exec.Values(x), Is.EqualTo(new[] { -2f, -4 }));
        Assert.That(() => exec.LinearCombination(x, [x, y], [1]), Throws.ArgumentException.With.Message.Contains("2 inputs but 1"));
    }

    [Test]
    public void Blend_MaskOfOneSampleAndChannel_MixesBoth()
    {
        // Two samples of two pixels of two channels; the mask 0.25 and 1 holds for both samples and channels.
        Tensor a = exec.Floats([2, 1, 2, 2], 4, 8, 1, 1, -4, 0, 1, 1), b = exec.Floats([2, 1, 2, 2], 8, 0, 5, 6, 4, 4, 7, 8);
        Tensor mask = exec.Floats([1, 1, 2, 1], 0.25f, 1), output = exec.Alloc(DType.Float32, 2, 1, 2, 2);
        exec.Blend(output, a, b, mask);
        exec.Blend(a, a, b, mask);
        Assert.That(exec.Values(output), Is.EqualTo(new[] { 5f, 6, 5, 6, -2, 1, 7, 8 }));
        Assert.That(exec.Values(a), Is.EqualTo(exec.Values(output)));
        Assert.That(() => exec.Blend(output, a, b, exec.Floats([1, 2, 1, 1], 0, 1)), Throws.ArgumentException.With.Message.Contains("mask is [1,2,1,1]"));
    }

    [Test]
    public void Clamp_InPlace_KeepsTheRange()
    {
        Tensor x = exec.Floats([3], -5, 0.5f, 5);
        exec.Clamp(x, x, -1, 2);
        Assert.That(exec.Values(x), Is.EqualTo(new[] { -1f, 0.5f, 2 }));
    }

    [Test]
    public void DynamicThreshold_LargestMagnitudeFour_DividesThatSampleByIt()
    {
        // ratio 1: s is the largest magnitude, held in [1, 8]. Sample 0: s = 4; sample 1: s = 1.
        Tensor x = exec.Floats([2, 2], -4, 2, 0.5f, 0.25f);
        exec.DynamicThreshold(x, x, 1, 8);
        Assert.That(exec.Values(x), Is.EqualTo(new[] { -1f, 0.5f, 0.5f, 0.25f }));
    }

    [Test]
    public void RescaleGuidance_HalfTheSpread_IsAMeanOfBoth()
    {
        // std of [-2,2] is twice that of [-1,1]: rescaled [-1,1], mixed 3:1 with the guided.
        Tensor guided = exec.Floats([1, 2], -2, 2);
        exec.RescaleGuidance(guided, guided, exec.Floats([1, 2], -1, 1), 0.75f);
        Assert.That(exec.Values(guided), Is.EqualTo(new[] { -1.25f, 1.25f }));
    }

    [Test]
    public void Repeated_MoreEntries_AreTheWholeOneAfterAnother()
    {
        Tensor x = exec.Floats([2, 1, 2], 1, 2, 3, 4), twice = exec.Repeated(x, 4), same = exec.Repeated(x, 2);
        Assert.That((twice.Shape, exec.Values(twice)), Is.EqualTo((new long[] { 4, 1, 2 }, new[] { 1f, 2, 3, 4, 1, 2, 3, 4 })));
        Assert.That(same.Data, Is.EqualTo(x.Data), "no copy");
        Assert.That(() => exec.Repeated(x, 3), Throws.ArgumentException.With.Message.Contains("cannot be repeated to 3 entries"));
    }

    [Test]
    public void Copy_ToBfloat16_RoundsToNearestEven()
    {
        // bfloat16 has 8 bits of significand: 257 lies halfway between 256 and 258, 259 between 258 and 260.
        using Tensor half = exec.Contiguous(exec.Floats([2], 257, 259), DType.BFloat16);
        Assert.That(exec.Values(half), Is.EqualTo(new[] { 256f, 260 }));
    }

    [Test]
    public void ImageToUInt8_EndsAndMiddle_RoundHalfToEven()
    {
        // -1 is 0, 0 is 127.5 and rounds to 128, 1 is 255, and what lies outside is cut.
        Tensor bytes = exec.ImageToUInt8(exec.Floats([5], -2, -1, 0, 1, 2));
        Assert.That(exec.Values(bytes), Is.EqualTo(new[] { 0f, 0, 128, 255, 255 }));
    }

    [TestCase(1f, true)]
    [TestCase(float.NaN, false)]
    [TestCase(float.PositiveInfinity, false)]
    public void IsFinite_OneValue_Decides(float value, bool expected) =>
        Assert.That(exec.IsFinite(exec.Floats([2], 0, value)), Is.EqualTo(expected));

    [Test]
    public void Weight_Unpacked_IsBitForBitWhatWasGiven()
    {
        float[] values = [1, -2, 3.5f, float.Epsilon, 5, 6];
        using Weight weight = HostValues.Weight(device, WeightKind.Matrix, HostValues.View([3, 2], values), 7, 8, 9);
        var unpacked = new byte[24];
        var bias = new float[3];
        weight.Unpack(unpacked, bias);
        Assert.That(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(unpacked).ToArray(), Is.EqualTo(values));
        Assert.That((bias, weight.Rows, weight.Columns, weight.Kind), Is.EqualTo((new[] { 7f, 8, 9 }, 3L, 2L, WeightKind.Matrix)));
    }

    [Test]
    public void Ops_ShapesThatDoNotFit_NameOpAndShapes()
    {
        using Weight weight = HostValues.Weight(device, WeightKind.Matrix, HostValues.View([2, 3], Repeat(1, 6)));
        Tensor x = exec.Floats([1, 2], 1, 2);
        Assert.Multiple(() =>
        {
            Assert.That(() => exec.Linear(x, weight), Throws.ArgumentException.With.Message.Contains("sdn_linear").And.Message.Contains("[1,2]"));
            Assert.That(() => exec.LayerNorm(x, weight, 0), Throws.ArgumentException.With.Message.Contains("norm"));
            Assert.That(() => HostValues.Weight(device, WeightKind.Conv2d, HostValues.View([2, 3], Repeat(1, 6))), Throws.ArgumentException);
            Assert.That(() => HostValues.Weight(device, WeightKind.Matrix, HostValues.View([2, 3], 1, 2)), Throws.ArgumentException);
        });
    }

    static float[] Repeat(float value, int count) => [.. Enumerable.Repeat(value, count)];
}
