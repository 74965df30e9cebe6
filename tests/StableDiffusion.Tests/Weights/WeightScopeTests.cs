using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Weights;

/// <summary>Paths, spellings, and errors for tensors that are missing, misshapen or unwanted.</summary>
public class WeightScopeTests
{
    private TemporaryFolder folder = null!;
    private SafetensorsFile file = null!;
    private WeightScope root = null!;

    [SetUp]
    public void MakeFile()
    {
        folder = new TemporaryFolder();
        string path = folder["model.safetensors"];
        File.WriteAllBytes(path, SafetensorsBytes.Floats(
            ("down_blocks.0.resnets.1.conv1.weight", [2, 1], [1, 2]),
            ("down_blocks.0.resnets.1.conv1.bias", [2], [3, 4]),
            ("down_blocks.0.resnets.10.conv1.weight", [1], [5]),
            ("mid.query.weight", [1], [6]),
            ("mid.query-old", [1], [7]),
            ("position_ids", [1], [8]),
            ("embeddings.position_ids", [1], [9])));
        file = SafetensorsFile.Open(path);
        root = new WeightScope(file);
    }

    [TearDown]
    public void DeleteFile()
    {
        file.Dispose();
        folder.Dispose();
    }

    [Test]
    public void Indexers_Nested_JoinThePath()
    {
        WeightScope scope = root["down_blocks"][0]["resnets"][1];
        Assert.Multiple(() =>
        {
            Assert.That(scope.Path, Is.EqualTo("down_blocks.0.resnets.1"));
            Assert.That(scope.Root, Is.SameAs(root));
            Assert.That(root.Path, Is.Empty);
            Assert.That(scope[""], Is.SameAs(scope));
            Assert.That(scope.Has("conv1.weight"), Is.True);
            Assert.That(scope["conv1"].Has("weight"), Is.True);
            Assert.That(scope["conv1"].Has("w"), Is.False);
            Assert.That(scope.Location, Is.EqualTo(folder["model.safetensors"]));
        });
    }

    [TestCase("down_blocks.0.resnets.1", true)]
    [TestCase("down_blocks.0.resnets", true)]
    [TestCase("down_blocks.0.resnets.1.conv1.weight", true)]
    [TestCase("down_blocks.0.resnets.2", false)]
    [TestCase("mid.query", true)]
    [TestCase("mid.quer", false)]
    [TestCase("zzz", false)]
    [TestCase("", true)]
    public void Exists_Path_IsTrueForTensorsAndWhatHoldsSome(string path, bool expected)
        => Assert.That(root[path].Exists, Is.EqualTo(expected));

    [Test]
    public void FirstOf_Spellings_TakesTheOneInTheFile()
    {
        Assert.Multiple(() =>
        {
            Assert.That(root["mid"].FirstOf("to_q", "query").Path, Is.EqualTo("mid.query"));
            Assert.That(root["mid"].FirstOf("query", "to_q").Path, Is.EqualTo("mid.query"));
            Assert.That(root["mid"].FirstOf("to_k", "key").Path, Is.EqualTo("mid.to_k"), "neither: today's name");
            Assert.That(root.FirstOf("text_model", "").Path, Is.Empty);
            Assert.That(root.FirstOf("mid", "").Path, Is.EqualTo("mid"));
        });
    }

    [Test]
    public void ReadTensor_RightShape_GivesTheValues()
    {
        using HostTensor tensor = root["down_blocks"][0]["resnets"][1]["conv1"].ReadTensor("weight", 2, 1);
        Assert.Multiple(() =>
        {
            Assert.That(tensor.Name, Is.EqualTo("down_blocks.0.resnets.1.conv1.weight"));
            Assert.That(tensor.ToArray(), Is.EqualTo(new[] { 1f, 2f }));
            Assert.That(tensor.Shape, Is.EqualTo(new long[] { 2, 1 }));
            Assert.That(tensor.DType, Is.EqualTo(WeightDType.Float32));
            Assert.That((long)tensor.Address % 64, Is.Zero);
        });
    }

    [Test]
    public void ReadTensor_Missing_NamesKeyShapeAndFile()
        => Assert.That(() => root["mid"]["to_k"].ReadTensor("weight", 4, 4), Throws.TypeOf<InvalidWeightsException>().With.Message.EqualTo(
            $"The tensor 'mid.to_k.weight' [4, 4] is missing from '{folder["model.safetensors"]}'."));

    [Test]
    public void ReadTensor_WrongShape_NamesBothShapesAndFile()
        => Assert.That(() => root["mid"]["query"].ReadTensor("weight", 1, 1), Throws.TypeOf<InvalidWeightsException>().With.Message.EqualTo(
            $"The tensor 'mid.query.weight' in '{folder["model.safetensors"]}' has the shape [1], but the configuration needs [1, 1]."));

    [Test]
    public void ReadTensor_IntegerTensor_IsRefused()
    {
        File.WriteAllBytes(folder["i.safetensors"], SafetensorsBytes.File("{" + SafetensorsBytes.Entry("i", "I64", "1", "0,8") + "}", 8));
        using SafetensorsFile integers = SafetensorsFile.Open(folder["i.safetensors"]);
        Assert.That(() => new WeightScope(integers).ReadTensor("i", 1), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("has the dtype I64"));
    }

    [Test]
    public void ThrowIfUnread_SomeUnread_NamesThemAndTheFile()
    {
        root["mid"]["query"].ReadTensor("weight", 1).Dispose();
        InvalidWeightsException? failure = Assert.Throws<InvalidWeightsException>(() => root.ThrowIfUnread("position_ids"));
        Assert.That(failure!.Message, Is.EqualTo(
            $"'{folder["model.safetensors"]}' has tensors that the model's configuration has no place for: 'down_blocks.0.resnets.1.conv1.bias', 'down_blocks.0.resnets.1.conv1.weight', 'down_blocks.0.resnets.10.conv1.weight', 'mid.query-old'."));
    }

    [Test]
    public void ThrowIfUnread_MoreThanFit_SaysHowMany()
        => Assert.That(() => root.ThrowIfUnread(), Throws.TypeOf<InvalidWeightsException>().With.Message.EndsWith(" and 2 more."));

    [Test]
    public void ThrowIfUnread_AllReadOrIgnored_Passes()
    {
        root["mid"]["query"].ReadTensor("weight", 1).Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(() => root["mid"].ThrowIfUnread("query-old"), Throws.Nothing);
            Assert.That(() => root.ThrowIfUnread("position_ids", "down_blocks.0", "mid.query-old"), Throws.Nothing);
            Assert.That(root.Unread("ids", "down_blocks", "query"), Is.EqualTo(new[] { "embeddings.position_ids", "mid.query-old", "position_ids" }), "only whole parts match");
        });
    }

    [Test]
    public void ThrowIfUnread_FailedRead_DoesNotCount()
    {
        Assert.That(() => root["mid"]["query"].ReadTensor("weight", 3), Throws.TypeOf<InvalidWeightsException>());
        Assert.That(root["mid"]["query"].Unread(), Is.EqualTo(new[] { "mid.query.weight" }));
    }

    [Test]
    public void ReadTensor_ManyThreads_RecordsEveryRead()
    {
        WeightScope conv = root["down_blocks"][0]["resnets"][1]["conv1"];
        Parallel.For(0, 200, _ =>
        {
            using HostTensor bias = conv.ReadTensor("bias", 2);
            using HostTensor weight = conv.ReadTensor("weight", 2, 1);
            Assert.That(bias.ToArray(), Is.EqualTo(new[] { 3f, 4f }));
        });
        Assert.That(conv.Unread(), Is.Empty);
    }

    [Test]
    public void HostTensor_Disposed_GivesNoMemory()
    {
        HostTensor tensor = root["mid"]["query"].ReadTensor("weight", 1);
        tensor.Dispose();
        tensor.Dispose();
        Assert.That(() => tensor.Bytes.Length, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public unsafe void HostTensor_MemoryPinned_IsTheSameMemoryAndOutlivesDispose()
    {
        HostTensor tensor = root["mid"]["query"].ReadTensor("weight", 1);
        using System.Buffers.MemoryHandle pin = tensor.Memory.Pin();
        Assert.That((nint)pin.Pointer, Is.EqualTo(tensor.Address));
        tensor.Dispose();
        Assert.That(*(float*)pin.Pointer, Is.EqualTo(6f));
    }

    [TestCase(WeightDType.Float16, "003C00BCFF7B", new[] { 1f, -1f, 65504f })]
    [TestCase(WeightDType.BFloat16, "803F80BF7F7F", new[] { 1f, -1f, 3.3895314e38f })]
    [TestCase(WeightDType.Float64, "000000000000F03F000000000000F0BF000000000000E03F", new[] { 1f, -1f, 0.5f })]
    [TestCase(WeightDType.Float32, "0000803F000080BF0000003F", new[] { 1f, -1f, 0.5f })]
    public void HostTensor_ToArray_ConvertsEveryFloatType(WeightDType dtype, string hex, float[] expected)
    {
        using HostTensor tensor = new("t", new WeightInfo(dtype, [3]));
        Convert.FromHexString(hex).CopyTo(tensor.Bytes);
        Assert.That(tensor.ToArray(), Is.EqualTo(expected));
    }

    [Test]
    public void HostTensor_OverTwoGigabytes_IsRefused()
        => Assert.That(() => new HostTensor("t", new WeightInfo(WeightDType.Float32, [1L << 30])), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("over 2 GB"));
}
