using StableDiffusion.Imaging;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Imaging;

/// <summary>JPEG, bit by bit against Pillow 11.1, which uses the same library (tests/fixtures/images/make_images.py), and files that break the rules.</summary>
public class JpegTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    private static byte[] Fixture(string name) => File.ReadAllBytes(Fixtures.PathOf("images", "jpeg", name + ".jpg"));

    private static void NeedLibrary()
    {
        if (TurboJpeg.Shared is null)
        {
            Assert.Ignore("libjpeg-turbo is not installed (libturbojpeg0).");
        }
    }

    private static byte[] Segment(byte marker, params byte[] content) => [0xFF, marker, (byte)((content.Length + 2) >> 8), (byte)(content.Length + 2), .. content];

    private static byte[] Frame(int width, int height, byte bits = 8, byte components = 3)
        => Segment(0xC0, [bits, (byte)(height >> 8), (byte)height, (byte)(width >> 8), (byte)width, components]);

    private static IEnumerable<TestCaseData> Bad()
    {
        byte[] start = [0xFF, 0xD8];
        byte[] scan = Segment(0xDA, 0);
        yield return Case("OnlyStart", [0xFF, 0xD8, 0xFF], "it is cut short");
        yield return Case("NoPixels", [.. start, 0xFF, 0xD9], "it has no pixels");
        yield return Case("TwoStarts", [.. start, .. start], "it has no pixels");
        yield return Case("NoMarker", [.. start, 0xFF, 0xE0, 0, 2, 7, 7], "there is no marker at byte 6");
        yield return Case("SegmentPastEnd", [.. start, 0xFF, 0xE0, 0xFF, 0xFF], "it is cut short");
        yield return Case("SegmentCut", [.. start, 0xFF, 0xE0, 0], "it is cut short");
        yield return Case("SegmentWithoutLength", [.. start, 0xFF, 0xE0, 0, 1, 0], "the segment at byte 4 has no length");
        yield return Case("ScanBeforeFrame", [.. start, .. scan], "its pixels come before their size");
        yield return Case("TwoFrames", [.. start, .. Frame(8, 8), .. Frame(8, 8), .. scan], "its size comes twice");
        yield return Case("ShortFrame", [.. start, .. Segment(0xC0, 8, 0, 8), .. scan], "its frame header is too short");
        yield return Case("TwelveBits", [.. start, .. Frame(8, 8, bits: 12), .. scan], "3 channels of 12 bits, but only");
        yield return Case("TwoComponents", [.. start, .. Frame(8, 8, components: 2), .. scan], "2 channels of 8 bits, but only");
        yield return Case("NoHeight", [.. start, .. Frame(8, 0), .. scan], "its size 8x0 is out of range");
        yield return Case("TooWide", [.. start, .. Frame(16385, 1), .. scan], "its size 16385x1 is out of range");
        yield return Case("TooLarge", [.. start, .. Frame(16000, 16000), .. scan], "its size 16000x16000 is out of range");
        yield return Case("LittleData", [.. start, .. Frame(10000, 10000), .. scan], "it has too little data for its size");

        static TestCaseData Case(string name, byte[] file, string message) => new TestCaseData(file, message).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Bad))]
    public void Load_BadFile_IsRefusedBeforeAnythingIsDecoded(byte[] file, string message)
    {
        string path = folder["picture.jpg"];
        File.WriteAllBytes(path, file);
        Assert.That(() => RgbImage.Load(path), Throws.TypeOf<InvalidImageException>().With.Message.Contains(path).And.Message.Contains(message).And.Message.EndsWith("."));
    }

    [TestCase("baseline-420")]
    [TestCase("baseline-444")]
    [TestCase("progressive")]
    [TestCase("restarts")]
    [TestCase("rgb")]
    [TestCase("grey")]
    [TestCase("cmyk")]
    [TestCase("ycck")]
    public void Load_Kind_IsPillowsBitByBit(string name)
    {
        NeedLibrary();
        string path = folder["the-name-does-not-matter.png"];
        File.WriteAllBytes(path, Fixture(name));
        using RgbImage image = RgbImage.Load(path);
        using RgbImage expected = RgbImage.Load(Fixtures.PathOf("images", "jpeg", name + ".expected.png"));
        Assert.That((image.Width, image.Height), Is.EqualTo((expected.Width, expected.Height)));
        Tolerances.AssertEqual(image.Pixels, expected.Pixels, [expected.Height, expected.Width, 3], name);
    }

    /// <summary>A file cut anywhere is refused, although the library itself would fill what is missing with grey.</summary>
    [TestCase("baseline-420")]
    [TestCase("progressive")]
    [TestCase("cmyk")]
    public void Decode_CutAnywhere_IsRefused(string name)
    {
        NeedLibrary();
        byte[] file = Fixture(name);
        for (int length = 3; length < file.Length - 2; length += 7)
        {
            Assert.That(() => RgbImage.Decode(file.AsMemory(0, length)), Throws.TypeOf<InvalidImageException>(), $"{length} of {file.Length} bytes");
        }

        Assert.That(() => RgbImage.Decode(file.AsMemory(0, file.Length * 3 / 4)), Throws.TypeOf<InvalidImageException>().With.Message.Contains("the JPEG library says: "));
    }

    /// <summary>Two thousand damaged files: a picture or a refusal, never another failure.</summary>
    [Test]
    public void Decode_MutatedBytes_GivesAPictureOrInvalidImageException()
    {
        NeedLibrary();
        System.Random random = new(7);
        byte[][] files = [Fixture("baseline-420"), Fixture("progressive"), Fixture("grey"), Fixture("ycck")];
        int accepted = 0;
        int refused = 0;
        for (int round = 0; round < 2_000; round++)
        {
            byte[] file = [.. files[round % files.Length]];
            for (int i = 0; i <= round % 3; i++)
            {
                file[2 + random.Next(file.Length - 2)] = (byte)random.Next(256);
            }

            try
            {
                RgbImage.Decode(file).Dispose();
                accepted++;
            }
            catch (InvalidImageException)
            {
                refused++;
            }
        }

        Assert.That(Math.Min(accepted, refused), Is.GreaterThan(100), $"{accepted} accepted, {refused} refused");
    }

    [Test]
    public void TurboJpeg_NoLibraryOfThatName_IsNullAndTheErrorNamesThePackage()
    {
        Assert.That(TurboJpeg.Find(["libsdn-no-such-library.so"]), Is.Null);
        Assert.That(TurboJpeg.HowToGet, Does.Contain("apt install libturbojpeg0"));
    }
}
