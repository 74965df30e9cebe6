using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Weights;

/// <summary>Files that are written are read back as they were, and are there complete or not at all.</summary>
public class SafetensorsWriterTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void Write_SeveralTypes_ReadsBackTheSame()
    {
        Dictionary<string, WeightInfo> tensors = new()
        {
            ["b"] = new(WeightDType.UInt8, [3]),
            ["ä \"quoted\""] = new(WeightDType.BFloat16, [2, 1]),
            ["z"] = new(WeightDType.Float64, []),
            ["a"] = new(WeightDType.Float32, [0, 4]),
            ["y"] = new(WeightDType.Float32, [5]),
        };
        SafetensorsWriter.Write(folder["t.safetensors"], tensors, Fill, new Dictionary<string, string> { ["format"] = "pt", ["b"] = "ü\n" });

        using SafetensorsFile file = SafetensorsFile.Open(folder["t.safetensors"]);
        Assert.That(file.Names, Is.EquivalentTo(tensors.Keys));
        Assert.That(file.Metadata, Is.EquivalentTo(new Dictionary<string, string> { ["format"] = "pt", ["b"] = "ü\n" }));
        foreach ((string name, WeightInfo info) in tensors)
        {
            byte[] written = new byte[info.ByteCount];
            byte[] read = new byte[info.ByteCount];
            Fill(name, info, written);
            file.Read(name, read);
            Assert.That(file.Find(name)!.ToString(), Is.EqualTo(info.ToString()), name);
            Assert.That(read, Is.EqualTo(written), name);
        }
    }

    [Test]
    public void Write_TheSameTensorsInAnotherOrder_GivesTheSameBytesAlignedTo8()
    {
        (string, WeightInfo)[] tensors = [("b", new(WeightDType.UInt8, [3])), ("a", new(WeightDType.Float16, [3])), ("d", new(WeightDType.Float32, [1])), ("c", new(WeightDType.Float32, [1]))];
        SafetensorsWriter.Write(folder["1"], tensors.ToDictionary(t => t.Item1, t => t.Item2), Fill);
        SafetensorsWriter.Write(folder["2"], tensors.Reverse().ToDictionary(t => t.Item1, t => t.Item2), Fill);
        byte[] bytes = File.ReadAllBytes(folder["1"]);
        Assert.Multiple(() =>
        {
            Assert.That(File.ReadAllBytes(folder["2"]), Is.EqualTo(bytes));
            Assert.That(BitConverter.ToInt64(bytes) % 8, Is.Zero);
            Assert.That(System.Text.Encoding.UTF8.GetString(bytes), Does.Match("\"c\".*\"d\".*\"a\".*\"b\""));
        });
    }

    [Test]
    public void Write_FromASource_CopiesIt()
    {
        string path = Fixtures.PathOf("models", "sd1", "vae", "diffusion_pytorch_model.safetensors");
        using SafetensorsFile source = SafetensorsFile.Open(path);
        SafetensorsWriter.Write(folder["copy"], source, source.Metadata);
        using SafetensorsFile copy = SafetensorsFile.Open(folder["copy"]);
        Assert.That(copy.Names, Is.EqualTo(source.Names));
        foreach (string name in source.Names)
        {
            byte[] one = new byte[source.Find(name)!.ByteCount];
            byte[] two = new byte[one.Length];
            source.Read(name, one);
            copy.Read(name, two);
            Assert.That(two, Is.EqualTo(one), name);
        }
    }

    [Test]
    public void Write_SourceThatCannotBeRead_LeavesWhatWasThere()
    {
        File.WriteAllText(folder["t"], "before");
        Dictionary<string, WeightInfo> tensors = new() { ["a"] = new(WeightDType.Float32, [1]) };
        Assert.That(() => SafetensorsWriter.Write(folder["t"], tensors, (_, _, _) => throw new InvalidWeightsException("Unreadable.")),
            Throws.TypeOf<InvalidWeightsException>().With.Message.EqualTo("Unreadable."));
        Assert.That(File.ReadAllText(folder["t"]), Is.EqualTo("before"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(1));
    }

    [Test]
    public void Write_Cancelled_LeavesNoFile()
    {
        using CancellationTokenSource cancelled = new();
        Dictionary<string, WeightInfo> tensors = new() { ["a"] = new(WeightDType.Float32, [1]), ["b"] = new(WeightDType.Float32, [1]) };
        Assert.That(() => SafetensorsWriter.Write(folder["t"], tensors, (_, _, _) => cancelled.Cancel(), cancellation: cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void Write_FolderMissing_SaysSo()
        => Assert.That(() => SafetensorsWriter.Write(folder["none/t"], new Dictionary<string, WeightInfo>(), Fill), Throws.InstanceOf<IOException>().With.Message.Contains("its folder does not exist"));

    [Test]
    [Platform("Linux")]
    public void Write_DiskFull_SaysSo()
    {
        Dictionary<string, WeightInfo> tensors = new() { ["a"] = new(WeightDType.Float32, [100_000]) };
        Assert.That(() => SafetensorsWriter.Write("/dev/full", tensors, Fill), Throws.InstanceOf<IOException>().With.Message.Contains("no space left"));
    }

    private static void Fill(string name, WeightInfo info, Span<byte> destination)
    {
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = (byte)(name[0] + i);
        }
    }
}
