using StableDiffusion.Imaging;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Imaging;

/// <summary>EXIF orientation against Pillow's ImageOps.exif_transpose (tests/fixtures/images/make_images.py), and EXIF data that breaks the rules.</summary>
public class ExifOrientationTests
{
    /// <summary>All orientations in both byte orders: odd ones are II in JPEG and MM in PNG, even ones the other way round.</summary>
    [Test]
    public void Load_Orientation_IsApplied([Range(1, 8)] int orientation, [Values("jpg", "png")] string ending)
    {
        if (ending == "jpg" && TurboJpeg.Shared is null)
        {
            Assert.Ignore("libjpeg-turbo is not installed (libturbojpeg0).");
        }

        string path = Fixtures.PathOf("images", "exif", $"{orientation}.{ending}");
        using RgbImage image = RgbImage.Load(path);
        using RgbImage expected = RgbImage.Load(path + ".expected.png");
        Assert.That((image.Width, image.Height), Is.EqualTo(orientation < 5 ? (19, 10) : (10, 19)));
        Tolerances.AssertEqual(image.Pixels, expected.Pixels, [expected.Height, expected.Width, 3], "pixels");
    }

    [TestCase("", TestName = "{m}(Empty)")]
    [TestCase("49492A00080000", TestName = "{m}(Cut)")]
    [TestCase("58582A00080000000100120103000100000006000000", TestName = "{m}(NoByteOrder)")]
    [TestCase("49492B00080000000100120103000100000006000000", TestName = "{m}(WrongMagic)")]
    [TestCase("49492A00FFFFFFFF0100120103000100000006000000", TestName = "{m}(DirectoryPastEnd)")]
    [TestCase("49492A00150000000100120103000100000006000000", TestName = "{m}(DirectoryAtEnd)")]
    [TestCase("49492A0008000000FFFF", TestName = "{m}(EntriesPastEnd)")]
    [TestCase("49492A000800000001001201030001000000060000", TestName = "{m}(EntryCut)")]
    [TestCase("49492A00080000000100120103000100000000000000", TestName = "{m}(Zero)")]
    [TestCase("49492A00080000000100120103000100000009000000", TestName = "{m}(Nine)")]
    [TestCase("49492A00080000000100120102000100000006000000", TestName = "{m}(Text)")]
    [TestCase("49492A00080000000100130103000100000006000000", TestName = "{m}(OtherTag)")]
    public void Read_WhatSaysNothing_IsUpright(string hex) => Assert.That(ExifOrientation.Read(Convert.FromHexString(hex)), Is.EqualTo(1));

    [TestCase("49492A00080000000100120103000100000006000000")]
    [TestCase("4D4D002A0000000800010112000300000001000600000000")]
    public void Read_BothByteOrders_GiveTheValue(string hex) => Assert.That(ExifOrientation.Read(Convert.FromHexString(hex)), Is.EqualTo(6));
}
