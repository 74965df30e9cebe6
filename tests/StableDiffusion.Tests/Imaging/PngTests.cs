using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using StableDiffusion.Imaging;
using StableDiffusion.Tests.Support;
using static StableDiffusion.Tests.Imaging.PngFiles;

namespace StableDiffusion.Tests.Imaging;

/// <summary>PNG: what is written is read back, every filter, and files that break the rules.</summary>
public class PngTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    private static IEnumerable<TestCaseData> Bad()
    {
        byte[] header = Header(2, 1);
        byte[] data = Chunk("IDAT", Deflate([0, 1, 2, 3, 4, 5, 6]));
        byte[] good = File(header, data, End);
        byte[] wrongCheck = [.. good];
        wrongCheck[^1] ^= 1;
        byte[] wrongPixelCheck = [.. good];
        wrongPixelCheck[8 + header.Length + 10] ^= 1;
        yield return Case("Empty", [], "it is empty");
        yield return Case("Text", [.. "hello"u8], "it is not a picture of a known kind; only PNG and JPEG files can be read");
        yield return Case("Gif", [.. "GIF89a"u8], "it is a GIF file");
        yield return Case("Bmp", [.. "BM1234"u8], "it is a BMP file");
        yield return Case("WebP", [.. "RIFF1234WEBPVP8 "u8], "it is a WebP file; only PNG and JPEG files can be read: convert it to PNG first");
        yield return Case("TiffLittle", [.. "II"u8, 42, 0, 8], "it is a TIFF file");
        yield return Case("TiffBig", [.. "MM"u8, 0, 42, 0], "it is a TIFF file");
        yield return Case("Avif", [0, 0, 0, 28, .. "ftypavif"u8], "it is an AVIF file");
        yield return Case("Heic", [0, 0, 0, 28, .. "ftypheic"u8], "it is a HEIC file");
        yield return Case("Video", [0, 0, 0, 28, .. "ftypisom"u8], "it is a video file");
        yield return Case("JpegXl", [0xFF, 0x0A, 1], "it is a JPEG XL file");
        yield return Case("OnlySignature", File(), "it is cut short");
        yield return Case("NoEnd", File(header, data), "it is cut short");
        yield return Case("CutInChunk", good[..^6], "it is cut short");
        yield return Case("CutInPixels", good[..(8 + header.Length + 14)], "it is cut short");
        yield return Case("LengthPastEnd", File(header, [.. BigEndian(uint.MaxValue), .. "IDAT1234"u8]), "it is cut short");
        yield return Case("WrongCheckOfEnd", wrongCheck, "the check value of its chunk 'IEND' is wrong");
        yield return Case("WrongCheckOfPixels", wrongPixelCheck, "the check value of its chunk 'IDAT' is wrong");
        yield return Case("TypeNotLetters", File(Chunk("I?DR", new byte[13])), "a chunk's type is not four letters");
        yield return Case("NoHeader", File(data, End), "its first chunk is 'IDAT' instead of IHDR");
        yield return Case("OnlyEnd", File(End), "its first chunk is 'IEND' instead of IHDR");
        yield return Case("TwoHeaders", File(header, header, data, End), "a second 'IHDR'");
        yield return Case("HeaderLength", File(Chunk("IHDR", new byte[12]), End), "IHDR chunk has the wrong length");
        yield return Case("UnknownColour", File(Header(1, 1, colour: 5), End), "there is no PNG with 8 bits of colour type 5");
        yield return Case("DepthOfColour", File(Header(1, 1, depth: 4), End), "there is no PNG with 4 bits of colour type 2");
        yield return Case("PaletteOf16Bits", File(Header(1, 1, depth: 16, colour: 3), End), "there is no PNG with 16 bits of colour type 3");
        yield return Case("UnknownInterlace", File(Header(1, 1, interlace: 2), End), "unknown compression, filter or interlace method");
        yield return Case("NoPalette", File(Header(2, 1, colour: 3), Chunk("IDAT", Deflate([0, 0, 0])), End), "colours of a palette, but it has none");
        yield return Case("PaletteIndex", File(Header(2, 1, colour: 3), Chunk("PLTE", 1, 2, 3, 4, 5, 6), Chunk("IDAT", Deflate([0, 1, 2])), End), "a pixel has colour 2, but its palette has 2 colours");
        yield return Case("PaletteLength", File(Header(2, 1, colour: 3), Chunk("PLTE", 1, 2, 3, 4), End), "its palette has 4 bytes");
        yield return Case("PaletteEmpty", File(Header(2, 1, colour: 3), Chunk("PLTE"), End), "its palette has 0 bytes");
        yield return Case("PaletteTooLong", File(Header(2, 1, colour: 3), Chunk("PLTE", new byte[771]), End), "its palette has 771 bytes");
        yield return Case("TwoPalettes", File(Header(2, 1, colour: 3), Chunk("PLTE", 1, 2, 3), Chunk("PLTE", 1, 2, 3), End), "a second 'PLTE'");
        yield return Case("InterlacedEndsEarly", File(Header(9, 9, depth: 1, colour: 0, interlace: 1), Chunk("IDAT", Deflate([0, 1, 0, 1])), End), "its pixels end too early");
        yield return Case("InterlacedLittleData", File(Header(10000, 10000, depth: 1, colour: 0, interlace: 1), data, End), "it has too little data for its size");
        yield return Case("UnknownCompression", File(Header(1, 1, compression: 1), End), "unknown compression, filter or interlace method");
        yield return Case("UnknownFilterMethod", File(Header(1, 1, filter: 1), End), "unknown compression, filter or interlace method");
        yield return Case("NoWidth", File(Header(0, 1), data, End), "its size 0x1 is out of range");
        yield return Case("TooWide", File(Header(16385, 1), data, End), "its size 16385x1 is out of range");
        yield return Case("TooLarge", File(Header(16384, 16384), data, End), "its size 16384x16384 is out of range");
        yield return Case("SizeOverflows", File(Header(uint.MaxValue, uint.MaxValue), data, End), "is out of range");
        yield return Case("LargeSizeLittleData", File(Header(10000, 10000), data, End), "it has too little data for its size");
        yield return Case("NoPixels", File(header, End), "it has too little data for its size");
        yield return Case("TooFewPixels", File(Header(2, 2), data, End), "its pixels end too early");
        yield return Case("NotZlib", File(header, Chunk("IDAT", 1, 2, 3, 4, 5, 6, 7, 8), End), "its pixels are damaged");
        yield return Case("UnknownFilter", File(header, Chunk("IDAT", Deflate([5, 1, 2, 3, 4, 5, 6])), End), "row 0 has the unknown filter 5");
        yield return Case("PixelsInTwoPlaces", File(header, data, Chunk("teXt"), data, End), "a second 'IDAT' part");
        yield return Case("UnknownCriticalChunk", File(header, Chunk("ABcD"), data, End), "a chunk 'ABcD' that is not known");

        static TestCaseData Case(string name, byte[] file, string message) => new TestCaseData(file, message).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Bad))]
    public void Load_BadFile_IsRefusedInOneSentenceNamingIt(byte[] file, string message)
    {
        string path = folder["picture.png"];
        System.IO.File.WriteAllBytes(path, file);
        InvalidImageException? failure = Assert.Throws<InvalidImageException>(() => RgbImage.Load(path));
        Assert.That(failure!.Message, Does.Contain(path).And.Contain(message).And.EndsWith(".").And.Not.Contain("\n"));
        Assert.That(failure, Is.InstanceOf<IOException>());
    }

    [Test]
    public void Load_MissingFileOrFolder_SaysSo()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => RgbImage.Load(folder["none.png"]), Throws.TypeOf<InvalidImageException>().With.Message.Contains("there is no such file"));
            Assert.That(() => RgbImage.Load(folder.Path), Throws.TypeOf<InvalidImageException>().With.Message.Contains("it is a folder"));
        });
    }

    [TestCase(1, 1)]
    [TestCase(1, 17)]
    [TestCase(23, 1)]
    [TestCase(64, 64)]
    [TestCase(127, 33)]
    public void SaveThenLoad_AnySize_GivesTheSamePixels(int width, int height)
    {
        using RgbImage image = Picture(width, height);
        image.Save(folder["a.png"]);
        using RgbImage back = RgbImage.Load(folder["a.png"]);
        Assert.That((back.Width, back.Height), Is.EqualTo((width, height)));
        Tolerances.AssertEqual(back.Pixels, image.Pixels, [height, width, 3], "pixels");
    }

    [Test]
    public void Encode_Picture_UsesAllFiltersAndCompressesBetterThanWithout()
    {
        using RgbImage image = Picture(96, 96);
        byte[] rows = Inflate(PngChunk.Enumerate("x", image.Encode()).Single(c => c.Type == "IDAT").Data.ToArray());
        HashSet<byte> filters = [.. Enumerable.Range(0, 96).Select(y => rows[y * ((96 * 3) + 1)])];
        byte[] unfiltered = [.. Enumerable.Range(0, 96).SelectMany(y => image.Pixels.Slice(y * 96 * 3, 96 * 3).ToArray().Prepend((byte)0))];
        Assert.Multiple(() =>
        {
            Assert.That(filters, Has.Count.GreaterThanOrEqualTo(3), string.Join(' ', filters));
            Assert.That(image.Encode(), Has.Length.LessThan(Deflate(unfiltered).Length));
        });
    }

    /// <summary>The filters and their cost against the same written out byte by byte, on rows shorter and longer than a vector.</summary>
    [Test]
    public void PngFilter_Rows_AreFilteredUndoneAndMeasuredByteByByte([Values(0, 1, 2, 3, 4)] int filter, [Values(1, 3, 4, 31, 99, 300)] int length)
    {
        const int PixelBytes = 3;
        System.Random random = new(length);
        byte[] row = new byte[length];
        byte[] above = new byte[length];
        byte[] filtered = new byte[length];
        random.NextBytes(row);
        random.NextBytes(above);
        (row[0], above[0]) = (255, 255);
        PngFilter.Apply(filter, row, above, PixelBytes, filtered);
        byte[] expected = [.. row.Select((x, i) => (byte)(x - Guess(filter, i < PixelBytes ? 0 : row[i - PixelBytes], above[i], i < PixelBytes ? 0 : above[i - PixelBytes])))];
        Assert.That(filtered, Is.EqualTo(expected));
        Assert.That(PngFilter.Cost(filtered), Is.EqualTo(filtered.Sum(b => Math.Min((int)b, 256 - b))));
        PngFilter.Undo(filter, filtered, above, PixelBytes);
        Assert.That(filtered, Is.EqualTo(row));
    }

    /// <summary>Each filter applied by the formulas of the PNG specification (section 9.2), on a picture of RGB and one of RGBA.</summary>
    [Test]
    public void Decode_EveryFilter_IsUndone([Values(0, 1, 2, 3, 4)] int filter, [Values(3, 4)] int pixelBytes)
    {
        const int Width = 5;
        const int Height = 4;
        int stride = Width * pixelBytes;
        byte[] raw = new byte[Height * stride];
        new System.Random(9).NextBytes(raw);
        List<byte> rows = [];
        for (int y = 0; y < Height; y++)
        {
            rows.Add((byte)filter);
            for (int i = 0; i < stride; i++)
            {
                int a = i >= pixelBytes ? raw[(y * stride) + i - pixelBytes] : 0;
                int b = y > 0 ? raw[((y - 1) * stride) + i] : 0;
                int c = i >= pixelBytes && y > 0 ? raw[((y - 1) * stride) + i - pixelBytes] : 0;
                rows.Add((byte)(raw[(y * stride) + i] - Guess(filter, a, b, c)));
            }
        }

        byte[] data = Deflate([.. rows]);
        byte[] file = File(
            Header(Width, Height, colour: (byte)(pixelBytes == 3 ? 2 : 6)),
            Chunk("gAMA", 0, 0, 177, 143),
            Chunk("IDAT", data[..3]),
            Chunk("IDAT"),
            Chunk("IDAT", data[3..]),
            End);
        using RgbImage image = RgbImage.Decode((byte[])[.. file, .. "after the end"u8]);
        byte[] expected = [.. raw.Chunk(pixelBytes).SelectMany(pixel => pixel[..3])];
        Tolerances.AssertEqual<byte>(image.Pixels, expected, [Height, Width, 3], "pixels");
    }

    [Test]
    public void Encode_Chunks_FollowTheSpecification()
    {
        using RgbImage image = new(3, 2, [.. Enumerable.Range(0, 18).Select(i => (byte)i)]);
        byte[] png = image.Encode([new("Title", "caf\u00E9\nnoir"), new("parameters", "\u732B"), new("nul", "a\0b")]);
        PngChunk[] chunks = [.. PngChunk.Enumerate("x", png)];
        Assert.Multiple(() =>
        {
            Assert.That(chunks.Select(c => c.Type), Is.EqualTo(new[] { "IHDR", "tEXt", "iTXt", "iTXt", "IDAT", "IEND" }));
            Assert.That(chunks[0].Data.ToArray(), Is.EqualTo(new byte[] { 0, 0, 0, 3, 0, 0, 0, 2, 8, 2, 0, 0, 0 }));
            Assert.That(chunks[1].Data.ToArray(), Is.EqualTo((byte[])[.. "Title\0caf"u8, 0xE9, .. "\nnoir"u8]));
            Assert.That(chunks[2].Data.ToArray(), Is.EqualTo((byte[])[.. "parameters\0\0\0\0\0"u8, 0xE7, 0x8C, 0xAB]));
            Assert.That(BinaryPrimitives.ReadUInt32BigEndian(png.AsSpan()[^4..]), Is.EqualTo(0xAE426082), "the check value of every IEND");
        });
    }

    [TestCase("")]
    [TestCase("\u732B")]
    [TestCase("a\nb")]
    [TestCase("12345678901234567890123456789012345678901234567890123456789012345678901234567890")]
    public void Encode_BadTextKey_IsRefused(string key)
    {
        using RgbImage image = Picture(1, 1);
        Assert.That(() => image.Encode([new(key, "x")]), Throws.ArgumentException.With.Message.Contains("1 to 79"));
    }

    [Test]
    public void PngText_EveryKindOfChunk_IsReadAndBadOnesAreLeftOut()
    {
        byte[] file = File(
            Header(1, 1),
            Chunk("tEXt", [.. "latin\0"u8, 0xE9]),
            Chunk("zTXt", [.. "packed\0\0"u8, .. Deflate([0xE9, (byte)'!'])]),
            Chunk("iTXt", [.. "plain\0\0\0en\0key\0"u8, .. Encoding.UTF8.GetBytes("\u732B")]),
            Chunk("iTXt", [.. "both\0\u0001\0\0\0"u8, .. Deflate(Encoding.UTF8.GetBytes("\u732B\u732B"))]),
            Chunk("tEXt", [.. "no zero"u8]),
            Chunk("tEXt", [.. "\0empty key"u8]),
            Chunk("zTXt", [.. "method\0\u0001"u8]),
            Chunk("zTXt", [.. "damaged\0\0xyz"u8]),
            Chunk("zTXt", [.. "bomb\0\0"u8, .. Deflate(new byte[17 << 20])]),
            Chunk("iTXt", [.. "short\0"u8]),
            Chunk("iTXt", [.. "flag\0\u0002\0\0\0"u8]),
            Chunk("iTXt", [.. "no end\0\0\0en"u8]),
            End);
        System.IO.File.WriteAllBytes(folder["t.png"], file);
        Assert.That(PngText.Load(folder["t.png"]), Is.EqualTo(new KeyValuePair<string, string>[]
        {
            new("latin", "\u00E9"), new("packed", "\u00E9!"), new("plain", "\u732B"), new("both", "\u732B\u732B"),
        }));
    }

    /// <summary>3,000 damaged files with their check values put right, so that damage reaches what lies behind them.</summary>
    [Test]
    public void Decode_MutatedBytes_GivesAPictureOrInvalidImageException()
    {
        byte[][] chunks = [Header(4, 3), Chunk("tEXt", [.. "key\0text"u8]), Chunk("IDAT", Deflate([.. Enumerable.Range(0, 39).Select(i => (byte)(i % 13 == 0 ? 1 : i))])), End];
        System.Random random = new(4711);
        int accepted = 0;
        for (int round = 0; round < 3_000; round++)
        {
            byte[] chunk = chunks[random.Next(3)];
            byte[] data = [.. chunk[8..^4]];
            data[random.Next(data.Length)] = (byte)random.Next(256);
            byte[] mutant = Chunk(Encoding.ASCII.GetString(chunk[4..8]), data);
            byte[] file = File([.. chunks.Select(c => c == chunk ? mutant : c)]);
            try
            {
                PngText.Decode(file);
                RgbImage.Decode(file).Dispose();
                accepted++;
            }
            catch (InvalidImageException)
            {
                continue;
            }
            catch (Exception failure)
            {
                Assert.Fail($"round {round}: {failure.GetType().Name} from {Convert.ToHexString(file)}: {failure.Message}");
            }
        }

        Assert.That(accepted, Is.GreaterThan(500).And.LessThan(2_900));
    }

    [Test]
    public void Load_ContactSheetOfTheDemoModel_IsReadable()
    {
        using RgbImage image = RgbImage.Load(Path.Combine(Fixtures.RepositoryRoot(), "models", "shapes", "contact-sheet.png"));
        Assert.That(image.Pixels.ToArray().Distinct().Count(), Is.GreaterThan(100));
    }

    [Test]
    public void RgbImage_BadArguments_AreRefused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => new RgbImage(0, 1, []), Throws.ArgumentException.With.Message.Contains("0x1"));
            Assert.That(() => new RgbImage(1, -1, []), Throws.ArgumentException.With.Message.Contains("1x-1"));
            Assert.That(() => new RgbImage(16384, 16384, []), Throws.ArgumentException.With.Message.Contains("out of range"));
            Assert.That(() => new RgbImage(2, 2, new byte[11]), Throws.ArgumentException.With.Message.Contains("needs 12 bytes"));
            Assert.That(() => new RgbImage(2, 2, null!), Throws.ArgumentNullException);
        });
    }

    [Test]
    public void RgbImage_Disposed_HasNoPixels()
    {
        RgbImage image = Picture(1, 1);
        image.Dispose();
        Assert.That(() => image.Pixels.Length, Throws.TypeOf<ObjectDisposedException>());
    }

    // The formulas of the specification; the sort is stable, so a comes before b and b before c.
    private static int Guess(int filter, int a, int b, int c) => filter switch
    {
        1 => a,
        2 => b,
        3 => (a + b) / 2,
        4 => new[] { a, b, c }.OrderBy(v => Math.Abs(a + b - c - v)).First(),
        _ => 0,
    };

    private static byte[] Inflate(byte[] compressed)
    {
        using ZLibStream zlib = new(new MemoryStream(compressed), CompressionMode.Decompress);
        using MemoryStream result = new();
        zlib.CopyTo(result);
        return result.ToArray();
    }
}
