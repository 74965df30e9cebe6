using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Weights;

/// <summary>Tensors under other names, cut, joined and turned. The expected numbers are counted by hand from those stored.</summary>
public class MappedWeightsTests
{
    private TemporaryFolder folder = null!;
    private SafetensorsFile file = null!;

    [SetUp]
    public void MakeFile()
    {
        folder = new TemporaryFolder();
        string path = folder["old.safetensors"];
        File.WriteAllBytes(path, SafetensorsBytes.Floats(
            ("in_proj_weight", [6, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
            ("in_proj_bias", [6], [0, 1, 2, 3, 4, 5]),
            ("projection", [2, 3], [0, 1, 2, 3, 4, 5]),
            ("kernel", [2, 3, 1, 1], [0, 1, 2, 3, 4, 5]),
            ("kernel3", [1, 1, 3, 1], [0, 1, 2])));
        file = SafetensorsFile.Open(path);
    }

    [TearDown]
    public void DeleteFile()
    {
        file.Dispose();
        folder.Dispose();
    }

    [TestCase(0, new float[] { 0, 1, 2, 3 })]
    [TestCase(2, new float[] { 8, 9, 10, 11 })]
    public void Read_PartOfRows_IsThatThird(int part, float[] expected)
    {
        using MappedWeights mapped = Map("q", new TensorMapping(["in_proj_weight"], part, Parts: 3));

        Assert.That(Read(mapped, "q"), Is.EqualTo(((long[])[2, 2], expected)));
    }

    [Test]
    public void Read_Transpose_TurnsTheMatrix()
    {
        using MappedWeights mapped = Map("p", new TensorMapping(["projection"], Change: TensorChange.Transpose));

        Assert.That(Read(mapped, "p"), Is.EqualTo(((long[])[3, 2], (float[])[0, 3, 1, 4, 2, 5])));
    }

    [TestCase("kernel", TensorChange.Squeeze, new long[] { 2, 3 })]
    [TestCase("projection", TensorChange.Squeeze, new long[] { 2, 3 })]
    [TestCase("projection", TensorChange.Unsqueeze, new long[] { 2, 3, 1, 1 })]
    [TestCase("kernel", TensorChange.Unsqueeze, new long[] { 2, 3, 1, 1 })]
    [TestCase("in_proj_bias", TensorChange.Unsqueeze, new long[] { 6 })]
    public void Read_Reshaped_KeepsTheNumbers(string source, TensorChange change, long[] shape)
    {
        using MappedWeights mapped = Map("x", new TensorMapping([source], Change: change));

        Assert.That(Read(mapped, "x"), Is.EqualTo((shape, (float[])[0, 1, 2, 3, 4, 5])));
    }

    [Test]
    public void Read_SeveralSources_PutsTheirRowsBelowOneAnother()
    {
        using MappedWeights mapped = Map("joined", new TensorMapping(["in_proj_bias", "in_proj_bias"]));

        Assert.That(Read(mapped, "joined"), Is.EqualTo(((long[])[12], (float[])[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5])));
    }

    [Test]
    public void Constructor_SourceMissing_LeavesTheNameOut()
    {
        using MappedWeights mapped = Map("x", new TensorMapping(["projection", "missing"]));

        Assert.Multiple(() =>
        {
            Assert.That(mapped.Names, Is.Empty);
            Assert.That(mapped.Find("x", []), Is.Null);
        });
    }

    [TestCase("projection", 0, 3, TensorChange.None, "cannot be cut into 3 equal groups of rows")]
    [TestCase("in_proj_bias", 0, 1, TensorChange.Transpose, "is no matrix")]
    [TestCase("kernel3", 0, 1, TensorChange.Squeeze, "is no kernel of a 1x1 convolution")]
    public void Constructor_ShapeThatDoesNotFit_NamesTensorAndFile(string source, int part, int parts, TensorChange change, string expected) =>
        Assert.That(() => Map("x", new TensorMapping([source], part, parts, change)),
            Throws.TypeOf<InvalidWeightsException>().With.Message.Contains($"'{source}'").And.Message.Contains("old.safetensors").And.Message.Contains(expected));

    [Test]
    public void Constructor_RowsThatDoNotFitTogether_NamesBoth() =>
        Assert.That(() => Map("x", new TensorMapping(["projection", "in_proj_weight"])),
            Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("'in_proj_weight'").And.Message.Contains("does not fit below 'projection'"));

    [Test]
    public void Expect_WrongShape_NamesTheTensorAsItIsStored()
    {
        using MappedWeights mapped = Map("q", new TensorMapping(["in_proj_weight"], 0, Parts: 3));

        Assert.That(() => new WeightScope(mapped).Expect("q", 5, 5),
            Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("'q'").And.Message.Contains("old.safetensors: in_proj_weight'"));
    }

    private MappedWeights Map(string name, TensorMapping mapping) => new(file, [KeyValuePair.Create(name, mapping)]);

    private static (long[] Shape, float[] Values) Read(MappedWeights source, string name)
    {
        WeightInfo info = source.Find(name, [])!;
        using HostTensor tensor = new(name, info);
        source.Read(name, info, tensor.Bytes);
        return ([.. info.Shape], tensor.ToArray());
    }
}
