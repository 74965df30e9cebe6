using StableDiffusion.Imaging;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Imaging;

/// <summary>A file is there complete or not at all, and failures name the path and the reason.</summary>
public class AtomicFileTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void Save_ExistingFile_IsReplacedAndNothingElseIsLeft()
    {
        File.WriteAllText(folder["a.png"], "old");
        using RgbImage image = PngFiles.Picture(8, 8);
        image.Save(folder["a.png"], new GenerationParameters { Prompt = "a cat", Steps = 3 });
        Assert.Multiple(() =>
        {
            Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EqualTo(new[] { folder["a.png"] }));
            Assert.That(GenerationParameters.Load(folder["a.png"])!.Prompt, Is.EqualTo("a cat"));
        });
    }

    [Test]
    public void Save_RelativePath_IsBelowTheCurrentFolder()
    {
        string name = $"relative-{Guid.NewGuid():N}.png";
        try
        {
            using RgbImage image = PngFiles.Picture(1, 1);
            image.Save(name);
            Assert.That(File.Exists(Path.Combine(Environment.CurrentDirectory, name)));
        }
        finally
        {
            File.Delete(name);
        }
    }

    [Test]
    public void Write_FailsHalfWay_LeavesTheOldFileAndNoHalfOne()
    {
        File.WriteAllText(folder["a.png"], "old");
        Assert.That(
            () => AtomicFile.Write(folder["a.png"], stream =>
            {
                stream.Write(new byte[100_000]);
                throw new IOException("No space left on device", 28);
            }),
            Throws.TypeOf<IOException>().With.Message.EqualTo($"'{folder["a.png"]}' cannot be written: there is no space left on the disk."));
        Assert.Multiple(() =>
        {
            Assert.That(File.ReadAllText(folder["a.png"]), Is.EqualTo("old"));
            Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(1));
        });
    }

    [Test]
    [Platform("Linux")]
    public void Write_FullDevice_SaysThatThereIsNoSpace()
        => Assert.That(() => AtomicFile.Write("/dev/full", new byte[10]), Throws.TypeOf<IOException>().With.Message.EqualTo("'/dev/full' cannot be written: there is no space left on the disk."));

    [Test]
    [Platform("Linux")]
    public void Write_NullDevice_LeavesTheDevice()
    {
        AtomicFile.Write("/dev/null", new byte[10]);
        Assert.That(new FileInfo("/dev/null").Length, Is.Zero);
        Assert.That(File.ReadAllBytes("/dev/null"), Is.Empty);
    }

    [Test]
    [Platform("Linux")]
    public void Write_Link_ReplacesWhatItPointsTo()
    {
        File.WriteAllText(folder["target.png"], "old");
        File.CreateSymbolicLink(folder["link.png"], folder["target.png"]);
        AtomicFile.Write(folder["link.png"], "new"u8.ToArray());
        Assert.Multiple(() =>
        {
            Assert.That(File.ReadAllText(folder["target.png"]), Is.EqualTo("new"));
            Assert.That(new FileInfo(folder["link.png"]).LinkTarget, Is.EqualTo(folder["target.png"]));
        });
    }

    [Test]
    public void Write_BadPath_NamesItAndTheReason()
    {
        File.WriteAllText(folder["file"], "");
        Assert.Multiple(() =>
        {
            Assert.That(() => AtomicFile.Write(folder.Path, new byte[1]), Throws.TypeOf<IOException>().With.Message.EqualTo($"'{folder.Path}' cannot be written: it is a folder."));
            Assert.That(() => AtomicFile.Write(folder["no/a.png"], new byte[1]), Throws.TypeOf<IOException>().With.Message.EqualTo($"'{folder["no/a.png"]}' cannot be written: its folder does not exist."));
            Assert.That(() => AtomicFile.Write(folder[new string('x', 300)], new byte[1]), Throws.TypeOf<IOException>().With.Message.Contains("cannot be written: "));
            Assert.That(() => AtomicFile.Write("a\0b", new byte[1]), Throws.TypeOf<IOException>().With.Message.Contains("it is not a valid path"));
            Assert.That(() => AtomicFile.Write(folder["file/a.png"], new byte[1]), Throws.TypeOf<IOException>().With.Message.Contains("cannot be written: "));
            Assert.That(() => AtomicFile.Write("", new byte[1]), Throws.ArgumentException);
        });
    }
}
