using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Weights;

/// <summary>Which file of a component folder is taken, and shards.</summary>
public class WeightFolderTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCase(null, "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.non_ema.safetensors")]
    [TestCase(null, "model.safetensors", "model.safetensors", "pytorch_model.bin")]
    [TestCase(null, "model.fp16.safetensors", "model.fp16.safetensors", "model.non_ema.safetensors")]
    [TestCase("fp16", "model.fp16.safetensors", "model.fp16.safetensors", "model.safetensors")]
    [TestCase("non_ema", "diffusion_pytorch_model.non_ema.safetensors", "diffusion_pytorch_model.non_ema.safetensors", "diffusion_pytorch_model.safetensors")]
    [TestCase(null, "diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.fp16.safetensors")]
    [TestCase("fp16", "model.safetensors.index.fp16.json", "model.safetensors.index.fp16.json", "model.safetensors")]
    [TestCase("fp16", "diffusion_pytorch_model.safetensors.fp16.index.json", "diffusion_pytorch_model.safetensors.fp16.index.json")]
    [TestCase(null, "model.fp16.safetensors", "pytorch_model.bin", "model.fp16.safetensors")]
    [TestCase(null, "diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin")]
    [TestCase(null, "diffusion_pytorch_model.fp16.bin", "diffusion_pytorch_model.fp16.bin")]
    [TestCase("fp16", "pytorch_model.fp16.bin", "pytorch_model.bin", "pytorch_model.fp16.bin", "model.safetensors")]
    [TestCase(null, "pytorch_model.bin.index.json", "pytorch_model.bin.index.json")]
    [TestCase("fp16", "diffusion_pytorch_model.bin.index.fp16.json", "diffusion_pytorch_model.bin.index.fp16.json", "diffusion_pytorch_model.bin")]
    public void Find_SeveralFiles_TakesTheOneOfTheVariant(string? variant, string expected, params string[] files)
    {
        foreach (string file in files)
        {
            File.WriteAllText(folder[file], "");
        }

        Assert.That(WeightFolder.Find(folder.Path, variant), Is.EqualTo(folder[expected]));
    }

    [TestCase(null, "it has no diffusion_pytorch_model or model with the extension .safetensors or .bin.", "config.json")]
    [TestCase(null, "only model.onnx", "model.onnx")]
    [TestCase("fp16", "it has no weights of the variant 'fp16', only model.safetensors", "model.safetensors")]
    [TestCase(null, "only model.non_ema.safetensors", "model.non_ema.safetensors")]
    public void Find_NothingUsable_SaysWhatIsThere(string? variant, string message, params string[] files)
    {
        foreach (string file in files)
        {
            File.WriteAllText(folder[file], "");
        }

        Assert.That(() => WeightFolder.Find(folder.Path, variant), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains(message).And.Message.Contains(folder.Path));
    }

    [Test]
    public void Find_MissingFolder_NamesIt()
        => Assert.That(() => WeightFolder.Find(folder["unet"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains(folder["unet"]));

    [Test]
    public void Open_FixtureComponent_HasItsTensors()
    {
        using IWeightSource source = WeightFolder.Open(Fixtures.PathOf("models", "sd1", "unet"));
        Assert.That(source.Find("conv_in.weight", []), Is.Not.Null);
    }

    [Test]
    public void Open_Shards_ReadsEachTensorFromItsFile()
    {
        WriteShards();
        WriteIndex("""{"metadata":{"total_size":12},"weight_map":{"b":"s-2.safetensors","a":"s-1.safetensors","c":"s-2.safetensors"}}""");
        using IWeightSource source = WeightFolder.Open(folder.Path);
        WeightScope scope = new(source);
        using HostTensor c = scope.ReadTensor("c", 1);
        Assert.Multiple(() =>
        {
            Assert.That(source.Names, Is.EqualTo(new[] { "a", "b", "c" }));
            Assert.That(source.Describe("a"), Is.EqualTo(folder["s-1.safetensors"]));
            Assert.That(source.Describe("nothing"), Is.EqualTo(folder["model.safetensors.index.json"]));
            Assert.That(c.ToArray(), Is.EqualTo(new[] { 3f }));
            Assert.That(scope.Unread(), Is.EqualTo(new[] { "a", "b" }));
            Assert.That(source.Find("d", []), Is.Null);
        });
    }

    [TestCase("""{"weight_map":{"a":"s-1.safetensors","b":"s-9.safetensors"}}""", "shard 's-9.safetensors' is missing")]
    [TestCase("""{"weight_map":{"a":"s-1.safetensors","b":"s-1.safetensors"}}""", "s-1.safetensors' has the tensor 'b', but it does not")]
    [TestCase("""{"weight_map":{"a":"../s-1.safetensors"}}""", "'../s-1.safetensors', which is not a file name in its own folder")]
    [TestCase("""{"weight_map":{"a":"/etc/passwd"}}""", "not a file name")]
    [TestCase("""{"weight_map":{"a":"c:\\x"}}""", "not a file name")]
    [TestCase("""{"weight_map":{"a":".."}}""", "not a file name")]
    [TestCase("""{"weight_map":{"a":""}}""", "not a file name")]
    [TestCase("""{"weight_map":{"a":7}}""", "entry for the tensor 'a'")]
    [TestCase("""{"weight_map":{"a":"s-1.safetensors","a":"s-1.safetensors"}}""", "'a' is listed twice")]
    [TestCase("""{"weight_map":[]}""", "no object 'weight_map'")]
    [TestCase("""[]""", "no object 'weight_map'")]
    [TestCase("""{"weight_map":""", "not valid JSON")]
    [TestCase("""{"weight_map":{"\ud800":"s-1.safetensors"}}""", "not valid JSON")]
    public void Open_BadIndex_IsRefusedNamingIt(string index, string message)
    {
        WriteShards();
        WriteIndex(index);
        Assert.That(() => WeightFolder.Open(folder.Path), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains(message).And.Message.Contains(folder.Path));
    }

    [Test]
    public void Open_DamagedShard_NamesTheShard()
    {
        WriteShards();
        File.WriteAllBytes(folder["s-2.safetensors"], [1, 2, 3]);
        WriteIndex("""{"weight_map":{"a":"s-1.safetensors","b":"s-2.safetensors"}}""");
        Assert.That(() => WeightFolder.Open(folder.Path), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("s-2.safetensors"));
    }

    [Test]
    public void Open_MissingIndex_NamesIt()
        => Assert.That(() => ShardedWeights.Open(folder["x.index.json"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("x.index.json"));

    private void WriteShards()
    {
        File.WriteAllBytes(folder["s-1.safetensors"], SafetensorsBytes.Floats(("a", [1], [1f])));
        File.WriteAllBytes(folder["s-2.safetensors"], SafetensorsBytes.Floats(("b", [1], [2f]), ("c", [1], [3f])));
    }

    private void WriteIndex(string json) => File.WriteAllText(folder["model.safetensors.index.json"], json);
}
