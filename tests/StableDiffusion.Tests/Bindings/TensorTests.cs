using StableDiffusion.Native;

namespace StableDiffusion.Tests.Bindings;

/// <summary>Views of one memory; what they see is checked with the library's own copy.</summary>
public class TensorTests
{
    Device device = null!;
    Exec exec = null!;

    [SetUp]
    public void Open()
    {
        device = Device.Open("cpu", threads: 1);
        exec = Exec.Create(device, 1 << 16);
    }

    [TearDown]
    public void Close()
    {
        exec.Dispose();
        device.Dispose();
    }

    [Test]
    public void Shape_OfRankThree_CountsBytesAndDimensions()
    {
        Tensor tensor = exec.Alloc(DType.BFloat16, 2, 3, 5);
        Assert.Multiple(() =>
        {
            Assert.That(tensor.Shape, Is.EqualTo(new long[] { 2, 3, 5 }));
            Assert.That((tensor[0], tensor[-1], tensor.Rank, tensor.Count, tensor.Bytes), Is.EqualTo((2L, 5L, 3, 30L, 60L)));
            Assert.That((tensor.IsDense, tensor.IsNone, default(Tensor).IsNone), Is.EqualTo((true, false, true)));
            Assert.That(tensor.ToString(), Is.EqualTo("BFloat16[2,3,5]"));
        });
    }

    [Test]
    public void View_ImageAsTokens_IsTheSameMemory()
    {
        Tensor image = Count(1, 2, 2, 3);
        Tensor tokens = image.View(1, 4, 3);
        Assert.That(tokens.Data, Is.EqualTo(image.Data));
        Assert.That(exec.Values(tokens.Slice(1, 2, 1)), Is.EqualTo(new[] { 6f, 7, 8 }));
    }

    [Test]
    public void Slice_OfEachDimension_SeesItsPart()
    {
        Tensor tensor = Count(2, 3);
        Assert.Multiple(() =>
        {
            Assert.That(exec.Values(tensor.Slice(0, 1, 1)), Is.EqualTo(new[] { 3f, 4, 5 }));
            Assert.That(exec.Values(tensor.Slice(-1, 1, 2)), Is.EqualTo(new[] { 1f, 2, 4, 5 }));
            Assert.That(tensor.Slice(-1, 1, 2).IsDense, Is.False);
        });
    }

    [Test]
    public void Permute_NhwcAsNchw_TurnsRoundAndBack()
    {
        Tensor nhwc = Count(1, 2, 2, 2);
        using Tensor nchw = exec.Contiguous(nhwc.Permute(0, 3, 1, 2));
        Assert.That(exec.Values(nchw), Is.EqualTo(new[] { 0f, 2, 4, 6, 1, 3, 5, 7 }));
        Assert.That(exec.Values(nchw.Permute(0, 2, 3, 1)), Is.EqualTo(exec.Values(nhwc)));
    }

    [Test]
    public void Permute_OfASlice_KeepsItsOffset() =>
        Assert.That(exec.Values(Count(2, 3).Slice(1, 1, 2).Permute(1, 0)), Is.EqualTo(new[] { 1f, 4, 2, 5 }));

    [Test]
    public void Dispose_OfAView_LeavesTheMemory()
    {
        Tensor tensor = Count(4);
        tensor.View(2, 2).Dispose();
        tensor.Slice(0, 1, 2).Dispose();
        Assert.That(exec.Values(tensor), Is.EqualTo(new[] { 0f, 1, 2, 3 }));
    }

    [Test]
    public void Views_ThatDoNotFit_AreRefused()
    {
        Tensor tensor = Count(2, 3);
        Assert.Multiple(() =>
        {
            Assert.That(() => tensor.View(7), Throws.ArgumentException.With.Message.Contains("cannot view Float32[2,3] as [7]"));
            Assert.That(() => tensor.Permute(1, 0).View(6), Throws.ArgumentException);
            Assert.That(() => tensor.Slice(1, 2, 2), Throws.InstanceOf<ArgumentException>().With.Message.Contains("[2,4)"));
            Assert.That(() => tensor.Slice(0, 0, 0), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => tensor.Permute(0, 0), Throws.ArgumentException.With.Message.Contains("[0,0]"));
            Assert.That(() => tensor.Permute(0), Throws.ArgumentException);
        });
    }

    [TestCase]
    [TestCase(1L, 1L, 1L, 1L, 1L)]
    [TestCase(2L, 0L)]
    [TestCase(-1L)]
    [TestCase(1L << 40, 1L << 40)]
    public void Alloc_ImpossibleShape_IsRefused(params long[] shape) =>
        Assert.That(() => exec.Alloc(DType.Float32, shape), Throws.ArgumentException);

    [Test]
    public void HostView_Rows_AreAPartOfTheFirstDimension()
    {
        HostView rows = HostValues.View([3, 2], 1, 2, 3, 4, 5, 6).Rows(1, 2);
        using Weight weight = HostValues.Weight(device, WeightKind.Embedding, rows);
        Tensor ids = exec.Upload<int>([1, 0], DType.Int32, 1, 2);
        Assert.That(exec.Values(exec.Embedding(ids, weight)), Is.EqualTo(new[] { 5f, 6, 3, 4 }));
    }

    /// <summary>0, 1, 2, ...</summary>
    Tensor Count(params long[] shape) =>
        exec.Floats(shape, [.. Enumerable.Range(0, (int)shape.Aggregate(1L, (product, size) => product * size)).Select(i => (float)i)]);
}
