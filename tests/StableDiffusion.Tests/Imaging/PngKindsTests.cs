using StableDiffusion.Imaging;
using StableDiffusion.Tests.Support;
using static StableDiffusion.Tests.Imaging.PngFiles;

namespace StableDiffusion.Tests.Imaging;

/// <summary>PNG of every depth, colour type and interlacing, bit by bit against Pillow 11.1 (tests/fixtures/images/make_images.py).</summary>
public class PngKindsTests
{
    private static readonly string Folder = Fixtures.PathOf("images", "png");

    private static IEnumerable<TestCaseData> Kinds()
        => Directory.EnumerateFiles(Folder, "*.png").Select(p => Path.GetFileNameWithoutExtension(p)!)
            .Where(name => !name.EndsWith(".expected", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(name => new TestCaseData(name).SetArgDisplayNames(name));

    [TestCaseSource(nameof(Kinds))]
    public void RgbImage_LoadOfAKind_IsPillowsBitByBit(string name)
    {
        using RgbImage image = RgbImage.Load(Path.Combine(Folder, name + ".png"));
        using RgbImage expected = RgbImage.Load(Path.Combine(Folder, name.Replace("-interlaced", "", StringComparison.Ordinal) + ".expected.png"));
        Assert.That((image.Width, image.Height), Is.EqualTo((expected.Width, expected.Height)));
        Tolerances.AssertEqual(image.Pixels, expected.Pixels, [expected.Height, expected.Width, 3], name);
    }

    /// <summary>All 15 kinds that the specification knows are there, plain and interlaced, at 13x11.</summary>
    [Test]
    public void Fixtures_Kinds_AreComplete()
    {
        IEnumerable<string> names = Kinds().Select(c => (string)c.Arguments[0]!);
        Assert.That(names.Count(n => n.EndsWith("-13x11", StringComparison.Ordinal)), Is.EqualTo(15));
        Assert.That(names.Count(n => n.EndsWith("-13x11-interlaced", StringComparison.Ordinal)), Is.EqualTo(15));
    }

    /// <summary>Interlaced pictures of every small size, so that each pass is empty, one pixel or several: the same pixels as plain.</summary>
    [Test]
    public void RgbImage_InterlacedOfEverySmallSize_IsTheSameAsPlain()
    {
        (int X, int Y, int Dx, int Dy)[] passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
        for (int width = 1; width <= 9; width++)
        {
            for (int height = 1; height <= 9; height++)
            {
                using RgbImage source = Picture(width, height, seed: (width * 10) + height);
                List<byte> data = [];
                foreach ((int firstX, int firstY, int dx, int dy) in passes)
                {
                    for (int y = firstY; y < height && firstX < width; y += dy)
                    {
                        data.Add(0);
                        for (int x = firstX; x < width; x += dx)
                        {
                            data.AddRange(source.Pixels.Slice(((y * width) + x) * 3, 3));
                        }
                    }
                }

                using RgbImage image = RgbImage.Decode(File(Header((uint)width, (uint)height, interlace: 1), Chunk("IDAT", Deflate([.. data])), End));
                Tolerances.AssertEqual(image.Pixels, source.Pixels, [height, width, 3], $"{width}x{height}");
            }
        }
    }

    /// <summary>Damaged files of every kind with their check values put right: a picture or a refusal, never another failure.</summary>
    [Test]
    public void Decode_MutatedKinds_GivesAPictureOrInvalidImageException()
    {
        System.Random random = new(42);
        int accepted = 0;
        int refused = 0;
        foreach (string name in Kinds().Select(c => (string)c.Arguments[0]!))
        {
            PngChunk[] chunks = [.. PngChunk.Enumerate(name, System.IO.File.ReadAllBytes(Path.Combine(Folder, name + ".png")))];
            for (int round = 0; round < 40; round++)
            {
                int changed = random.Next(chunks.Length - 1);
                byte[] file = File([.. chunks.Select((c, i) =>
                {
                    byte[] data = c.Data.ToArray();
                    if (i == changed)
                    {
                        data[random.Next(data.Length)] = (byte)random.Next(256);
                    }

                    return Chunk(c.Type, data);
                })]);
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
        }

        Assert.That(Math.Min(accepted, refused), Is.GreaterThan(100), $"{accepted} accepted, {refused} refused");
    }
}
