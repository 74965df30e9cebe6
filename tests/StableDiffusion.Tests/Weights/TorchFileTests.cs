using System.IO.Compression;
using System.Text.Json;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Weights;

/// <summary>
/// Files of torch.save: every tensor bit for bit as torch itself reads it, and hostile files refused by name. Files and expected values
/// are of <c>tests/fixtures/torch/export_torch_files.py</c>.
/// </summary>
public class TorchFileTests
{
    private static readonly JsonElement Expected = Fixtures.ReadJson("torch", "expected.json");

    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    private static IEnumerable<string> Good() => Expected.GetProperty("good").EnumerateObject().Select(file => file.Name);

    private static IEnumerable<TestCaseData> Hostile() => Expected.GetProperty("hostile").EnumerateObject().Select(file => new TestCaseData(file.Name, file.Value.GetString()));

    [TestCaseSource(nameof(Good))]
    public void Read_FileOfTorch_GivesWhatTorchReads(string name)
    {
        byte[] data = File.ReadAllBytes(Fixtures.PathOf("torch", "expected.bin"));
        JsonElement expected = Expected.GetProperty("good").GetProperty(name);
        using IWeightSource source = WeightFile.Open(Fixtures.PathOf("torch", name));
        TorchFile file = (TorchFile)source;
        Assert.That(file.Names, Is.EquivalentTo(expected.GetProperty("tensors").EnumerateObject().Select(t => t.Name)));
        Assert.That(file.Names, Is.Ordered.Using((IComparer<string>)StringComparer.Ordinal));
        foreach (JsonProperty tensor in expected.GetProperty("tensors").EnumerateObject())
        {
            WeightInfo info = file.Find(tensor.Name)!;
            byte[] read = new byte[info.ByteCount];
            file.Read(tensor.Name, read);
            Assert.That(info.DType.SafetensorsName(), Is.EqualTo(tensor.Value.GetProperty("dtype").GetString()), tensor.Name);
            Assert.That(info.Shape, Is.EqualTo(tensor.Value.GetProperty("shape").EnumerateArray().Select(side => side.GetInt64())), tensor.Name);
            Assert.That(read, Is.EqualTo(data.AsSpan(tensor.Value.GetProperty("begin").GetInt32(), tensor.Value.GetProperty("bytes").GetInt32()).ToArray()), tensor.Name);
        }
    }

    [TestCaseSource(nameof(Good))]
    public void Metadata_FileOfTorch_HasThePlainValues(string name)
    {
        using TorchFile file = TorchFile.Open(Fixtures.PathOf("torch", name));
        foreach (JsonProperty value in Expected.GetProperty("good").GetProperty(name).GetProperty("plain").EnumerateObject())
        {
            // NumPy's numbers too, in both ways in which protocols 2 and 3 store them.
            Assert.That(file.Metadata, Contains.Key(value.Name).WithValue(value.Value.GetString()));
        }
    }

    [TestCaseSource(nameof(Hostile))]
    public void Open_HostileFile_IsRefusedByName(string name, string asks)
    {
        string path = Fixtures.PathOf("torch", name);
        InvalidWeightsException? failure = Assert.Throws<InvalidWeightsException>(() => WeightFile.Open(path));
        Assert.That(failure!.Message, Does.StartWith($"'{path}' asks Python ").And.Contain($" {asks},").And.EndsWith("it was not loaded. Get a .safetensors file of this model."));
    }

    [TestCaseSource(nameof(Hostile))]
    public void Open_HostilePickleAlone_IsRefusedByName(string name, string asks)
    {
        using (ZipArchive zip = ZipFile.OpenRead(Fixtures.PathOf("torch", name)))
        {
            zip.GetEntry("archive/data.pkl")!.ExtractToFile(folder["model.ckpt"]);
        }

        Assert.That(() => WeightFile.Open(folder["model.ckpt"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains($" {asks},"));
    }

    [TestCaseSource(nameof(Hostile))]
    public void Open_HostilePickleBehindALegacyHeader_IsRefusedByName(string name, string asks)
    {
        byte[] header = File.ReadAllBytes(Fixtures.PathOf("torch", "all_legacy.pt"))[..15]; // The magic number.
        using (ZipArchive zip = ZipFile.OpenRead(Fixtures.PathOf("torch", name)))
        using (Stream pickle = zip.GetEntry("archive/data.pkl")!.Open())
        using (FileStream file = File.Create(folder["model.ckpt"]))
        {
            file.Write(header);
            pickle.CopyTo(file);
        }

        Assert.That(() => WeightFile.Open(folder["model.ckpt"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains($" {asks},"));
    }

    [Test]
    public void Open_HarmfulModule_SaysThatItCanDoHarm()
        => Assert.That(() => TorchFile.Open(Fixtures.PathOf("torch", "hostile_os_system.pt")), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("asks Python to run posix.system, so it can do harm; it was not loaded."));

    // Every place but the few that only shorten what no tensor needs; those files must still read right or be refused.
    [TestCase("all.pt")]
    [TestCase("all_legacy.pt")]
    [TestCase("lightning.ckpt")]
    [TestCase("lightning_legacy.ckpt")]
    [TestCase("big_endian.pt")]
    public void Open_FileCutAtAnyPlace_IsRefused(string name)
    {
        byte[] whole = File.ReadAllBytes(Fixtures.PathOf("torch", name));
        string path = folder["cut.ckpt"];
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            InvalidWeightsException? failure = Assert.Throws<InvalidWeightsException>(() => WeightFile.Open(path).Dispose(), $"{length} of {whole.Length} bytes");
            Assert.That(failure!.Message, Does.Contain(path).And.EndsWith("."));
        }
    }

    [TestCase("all.pt", 1)]
    [TestCase("all_legacy.pt", 2)]
    [TestCase("lightning.ckpt", 3)]
    [TestCase("lightning_legacy.ckpt", 4)]
    [TestCase("protocol4.pt", 5)]
    [TestCase("protocol1_legacy.pt", 6)]
    [TestCase("new_dtypes.pt", 7)]
    public void Open_FileWithChangedBytes_GivesNoOtherException(string name, int seed)
    {
        byte[] whole = File.ReadAllBytes(Fixtures.PathOf("torch", name));
        string path = folder["changed.ckpt"];
        System.Random random = new(seed);
        for (int round = 0; round < 3000; round++)
        {
            byte[] changed = [.. whole];
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                changed[random.Next(changed.Length)] = (byte)random.Next(256);
            }

            File.WriteAllBytes(path, changed);
            try
            {
                using IWeightSource source = WeightFile.Open(path);
                ReadAll(source);
            }
            catch (InvalidWeightsException)
            {
                // What a damaged file gives. Anything else fails the test.
            }
        }
    }

    private static void ReadAll(IWeightSource source)
    {
        foreach (string tensor in source.Names!)
        {
            WeightInfo info = source.Find(tensor, [])!;
            if (info.ByteCount < 1 << 20)
            {
                source.Read(tensor, info, new byte[info.ByteCount]);
            }
        }
    }

    [Test]
    public void Read_FromManyThreads_GivesTheSame()
    {
        using TorchFile file = TorchFile.Open(Fixtures.PathOf("torch", "all.pt"));
        byte[] expected = new byte[file.Find("shared.transposed")!.ByteCount];
        file.Read("shared.transposed", expected);
        Parallel.For(0, 200, _ =>
        {
            byte[] read = new byte[expected.Length];
            file.Read("shared.transposed", read);
            Assert.That(read, Is.EqualTo(expected));
        });
    }

    [Test]
    public void Read_WrongNameOrLength_IsAnError()
    {
        using TorchFile file = TorchFile.Open(Fixtures.PathOf("torch", "all.pt"));
        Assert.That(file.Find("none"), Is.Null);
        Assert.That(() => file.Read("none", []), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("no tensor 'none'"));
        Assert.That(() => file.Read("f32", new byte[3]), Throws.ArgumentException);
    }

    [Test]
    public void Open_ShardsOfTorch_AreRead()
    {
        File.Copy(Fixtures.PathOf("torch", "model_key.pth"), folder["pytorch_model-1.bin"]);
        File.WriteAllBytes(folder["model-2.safetensors"], SafetensorsBytes.Floats(("c", [1], [7f])));
        File.WriteAllText(folder["pytorch_model.bin.index.json"], """{"weight_map":{"a":"pytorch_model-1.bin","c":"model-2.safetensors"}}""");
        using IWeightSource source = WeightFolder.Open(folder.Path);
        WeightScope scope = new(source);
        using HostTensor a = scope.ReadTensor("a", 3);
        using HostTensor c = scope.ReadTensor("c", 1);
        Assert.Multiple(() =>
        {
            Assert.That(a.ToArray(), Is.EqualTo(new[] { 0f, 1f, 2f })); // torch.arange(3.0)
            Assert.That(c.ToArray(), Is.EqualTo(new[] { 7f }));
            Assert.That(source.Describe("a"), Is.EqualTo(folder["pytorch_model-1.bin"]));
        });
    }
}
