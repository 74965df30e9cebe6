using StableDiffusion.Imaging;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Imaging;

/// <summary>Sizes and shapes, bit by bit against Pillow 11.1 (tests/fixtures/images/make_images.py), and the canvas for outpainting.</summary>
public class ResizeTests
{
    private static IEnumerable<TestCaseData> Resized() => Cases("*-*x*.png", name => Enum.TryParse<ResampleFilter>(name, ignoreCase: true, out _));

    private static IEnumerable<TestCaseData> Reshaped() => Cases("*-*x*.png", name => name is "crop" or "fill");

    private static IEnumerable<TestCaseData> Grey() => Cases("grey-*-*x*.png", _ => true);

    private static IEnumerable<TestCaseData> Cases(string pattern, Func<string, bool> isWanted)
        => Directory.EnumerateFiles(Fixtures.PathOf("images", "resize"), pattern)
            .Select(Path.GetFileNameWithoutExtension)
            .Where(name => isWanted(name![..name!.IndexOf('-')]))
            .Order(StringComparer.Ordinal)
            .Select(name => new TestCaseData(name).SetArgDisplayNames(name!));

    private static RgbImage Load(string name) => RgbImage.Load(Fixtures.PathOf("images", "resize", name + ".png"));

    private static void AssertSame(RgbImage actual, RgbImage expected)
    {
        Assert.That((actual.Width, actual.Height), Is.EqualTo((expected.Width, expected.Height)));
        Tolerances.AssertEqual(actual.Pixels, expected.Pixels, [expected.Height, expected.Width, 3], "pixels");
    }

    [TestCaseSource(nameof(Resized))]
    public void RgbImage_Resize_IsPillowsBitByBit(string name)
    {
        using RgbImage source = Load("source");
        using RgbImage expected = Load(name);
        ResampleFilter filter = Enum.Parse<ResampleFilter>(name[..name.IndexOf('-')], ignoreCase: true);
        AssertSame(source.Resize(expected.Width, expected.Height, filter), expected);
    }

    [TestCaseSource(nameof(Reshaped))]
    public void RgbImage_ResizeToCropOrFill_IsDiffusersBitByBit(string name)
    {
        using RgbImage source = Load("source");
        using RgbImage expected = Load(name);
        ResizeMode mode = name.StartsWith("crop", StringComparison.Ordinal) ? ResizeMode.Crop : ResizeMode.Fill;
        AssertSame(source.ResizeTo(expected.Width, expected.Height, mode), expected);
    }

    /// <summary>A grey picture resized as one channel, and as three that are equal: the same brightness.</summary>
    [TestCaseSource(nameof(Grey))]
    public void Resampler_OneChannel_IsPillowsBitByBit(string name)
    {
        using RgbImage source = Load("grey");
        using RgbImage expected = Load(name);
        ResampleFilter filter = Enum.Parse<ResampleFilter>(name.Split('-')[1], ignoreCase: true);
        byte[] resized = Resampler.Resize(source.ToLuma(), source.Width, source.Height, 1, expected.Width, expected.Height, filter);
        Tolerances.AssertEqual<byte>(resized, expected.ToLuma(), [expected.Height, expected.Width], "brightness");
        Tolerances.AssertEqual<byte>(source.Resize(expected.Width, expected.Height, filter).ToLuma(), resized, [expected.Height, expected.Width], "brightness of RGB");
    }

    [Test]
    public void RgbImage_ToLuma_IsPillowsBitByBit()
    {
        using RgbImage source = Load("source");
        using RgbImage grey = Load("grey");
        Tolerances.AssertEqual<byte>(source.ToLuma(), grey.Pixels.ToArray().Chunk(3).Select(p => p[0]).ToArray(), [grey.Height, grey.Width], "brightness");
    }

    [Test]
    public void RgbImage_ResizeToStretch_IsLanczos()
    {
        using RgbImage source = Load("source");
        AssertSame(source.ResizeTo(40, 24, ResizeMode.Stretch), Load("lanczos-40x24"));
    }

    [TestCase(16384, 1)]
    [TestCase(1, 16384)]
    public void RgbImage_ResizeToOfALine_StillGivesAPicture(int width, int height)
    {
        using RgbImage line = new(width, height, new byte[width * height * 3]);
        foreach (ResizeMode mode in Enum.GetValues<ResizeMode>())
        {
            using RgbImage result = line.ResizeTo(24, 16, mode);
            Assert.That((result.Width, result.Height), Is.EqualTo((24, 16)));
        }
    }

    [TestCase(0, 1)]
    [TestCase(1, -1)]
    [TestCase(16385, 1)]
    [TestCase(16384, 16384)]
    public void RgbImage_ResizeToABadSize_IsRefused(int width, int height)
    {
        using RgbImage source = Load("source");
        Assert.That(() => source.Resize(width, height), Throws.ArgumentException.With.Message.Contains("out of range"));
        Assert.That(() => source.ResizeTo(width, height, ResizeMode.Fill), Throws.ArgumentException.With.Message.Contains("out of range"));
    }

    [Test]
    public void RgbImage_Crop_TakesThePart()
    {
        using RgbImage source = PngFiles.Picture(7, 5);
        using RgbImage part = source.Crop(2, 1, 4, 3);
        Assert.That((part.Width, part.Height), Is.EqualTo((4, 3)));
        for (int y = 0; y < 3; y++)
        {
            Assert.That(part.Pixels.Slice(y * 12, 12).ToArray(), Is.EqualTo(source.Pixels.Slice((((1 + y) * 7) + 2) * 3, 12).ToArray()));
        }
    }

    [TestCase(-1, 0, 1, 1)]
    [TestCase(0, -1, 1, 1)]
    [TestCase(0, 0, 8, 1)]
    [TestCase(0, 5, 1, 1)]
    [TestCase(0, 0, 0, 1)]
    [TestCase(1, 0, int.MaxValue, 1)]
    public void RgbImage_CropOutside_IsRefused(int left, int top, int width, int height)
    {
        using RgbImage source = PngFiles.Picture(7, 5);
        Assert.That(() => source.Crop(left, top, width, height), Throws.ArgumentException.With.Message.Contains("7x5"));
    }

    [TestCase(2, 1, 3, 4)]
    [TestCase(0, 0, 1, 0)]
    [TestCase(0, 5, 0, 0)]
    public void OutpaintCanvas_Extend_ContinuesTheEdgesAndMasksWhatIsNew(int left, int top, int right, int bottom)
    {
        using RgbImage source = PngFiles.Picture(7, 5);
        (RgbImage canvas, RgbImage mask) = OutpaintCanvas.Extend(source, left, top, right, bottom);
        Assert.That((canvas.Width, canvas.Height, mask.Width, mask.Height), Is.EqualTo((left + 7 + right, top + 5 + bottom, left + 7 + right, top + 5 + bottom)));
        for (int y = 0; y < canvas.Height; y++)
        {
            for (int x = 0; x < canvas.Width; x++)
            {
                (int oldX, int oldY) = (Math.Clamp(x - left, 0, 6), Math.Clamp(y - top, 0, 4));
                bool isNew = (oldX, oldY) != (x - left, y - top);
                int at = ((y * canvas.Width) + x) * 3;
                Assert.That(canvas.Pixels.Slice(at, 3).ToArray(), Is.EqualTo(source.Pixels.Slice(((oldY * 7) + oldX) * 3, 3).ToArray()), $"({x}, {y})");
                Assert.That(mask.Pixels.Slice(at, 3).ToArray(), Is.All.EqualTo(isNew ? 255 : 0), $"({x}, {y})");
            }
        }
    }

    [TestCase(0, 0, 0, 0, "at least one is not 0")]
    [TestCase(-1, 0, 0, 8, "0 or more")]
    [TestCase(int.MaxValue, 0, 1, 0, "out of range")]
    public void OutpaintCanvas_BadAmounts_AreRefused(int left, int top, int right, int bottom, string message)
    {
        using RgbImage source = PngFiles.Picture(7, 5);
        Assert.That(() => OutpaintCanvas.Extend(source, left, top, right, bottom), Throws.ArgumentException.With.Message.Contains(message));
    }
}
