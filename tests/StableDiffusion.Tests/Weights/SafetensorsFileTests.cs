using System.Runtime.InteropServices;
using System.Text;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;
using static StableDiffusion.Tests.Weights.SafetensorsBytes;

namespace StableDiffusion.Tests.Weights;

/// <summary>Files that follow the format, and files that break each of its rules.</summary>
public class SafetensorsFileTests
{
    private const string Name = "block.weight";

    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    /// <summary>One file per rule: what is wrong, the file, and a part of the sentence that says so.</summary>
    private static IEnumerable<TestCaseData> Hostile()
    {
        string good = Entry(Name, "F32", "2,2", "0,16");
        yield return Case("Empty", [], "only 0 bytes");
        yield return Case("ShorterThanPrefix", [1, 2, 3], "only 3 bytes");
        yield return Case("HeaderPastEnd", WithPrefix(100, [.. "{}"u8]), "claims a header of 100 bytes but has only 10");
        yield return Case("HeaderAbsurd", WithPrefix(100_000_001, [.. "{}"u8]), "claims a header of 100000001 bytes (at most 100000000");
        yield return Case("HeaderNegative", WithPrefix(ulong.MaxValue, [.. "{}"u8]), "claims a header of 18446744073709551615 bytes");
        yield return Case("HeaderEmpty", WithPrefix(0, []), "does not begin with '{'");
        yield return Case("HeaderArray", File("[]"), "does not begin with '{'");
        yield return Case("HeaderBlankFirst", File(" {}"), "does not begin with '{'");
        yield return Case("NotJson", File("{\"a\" 1}"), "not valid JSON");
        yield return Case("JsonCutShort", File("{" + good), "not valid JSON");
        yield return Case("TextAfterJson", File("{" + good + "} x", 16), "not valid JSON");
        yield return Case("TooDeep", File("{\"a\":{\"dtype\":" + new string('[', 200) + "}}"), "");
        yield return Case("NotUtf8", File([.. "{\"a"u8, 0xFF, .. "\":{}}"u8]), "not valid UTF-8");
        yield return Case("HalfSurrogate", File("{\"\\ud800\":{}}"), "not valid JSON");
        yield return Case("EntryNotObject", File($"{{\"{Name}\":7}}"), "is not a JSON object", Name);
        yield return Case("NoDType", File($"{{\"{Name}\":{{\"shape\":[1],\"data_offsets\":[0,4]}}}}", 4), "no 'dtype'", Name);
        yield return Case("NoShape", File($"{{\"{Name}\":{{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}}}", 4), "no 'shape'", Name);
        yield return Case("NoOffsets", File($"{{\"{Name}\":{{\"dtype\":\"F32\",\"shape\":[1]}}}}", 4), "no 'data_offsets'", Name);
        yield return Case("UnknownDType", File("{" + Entry(Name, "Q4_0", "2,2", "0,16") + "}", 16), "unknown dtype 'Q4_0'", Name);
        yield return Case("DTypeNotText", File($"{{\"{Name}\":{{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}}}", 4), "dtype of the tensor", Name);
        yield return Case("ShapeNotList", File($"{{\"{Name}\":{{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}}}", 4), "shape of the tensor", Name);
        yield return Case("NegativeDimension", File("{" + Entry(Name, "F32", "-2,-2", "0,16") + "}", 16), "whole number", Name);
        yield return Case("FractionalDimension", File("{" + Entry(Name, "F32", "2.5", "0,16") + "}", 16), "whole number", Name);
        yield return Case("TextDimension", File("{" + Entry(Name, "F32", "\"2\"", "0,16") + "}", 16), "whole number", Name);
        yield return Case("DimensionOver64Bits", File("{" + Entry(Name, "F32", "99999999999999999999", "0,16") + "}", 16), "whole number", Name);
        yield return Case("ShapeOverflows", File("{" + Entry(Name, "F32", "4294967296,4294967296", "0,16") + "}", 16), "overflows 64 bits", Name);
        yield return Case("BytesOverflow", File("{" + Entry(Name, "F64", "4611686018427387904", "0,16") + "}", 16), "overflows 64 bits", Name);
        yield return Case("ShapeTooLarge", File("{" + Entry(Name, "F32", "2,3", "0,16") + "}", 16), "has 16 bytes where F32 [2, 3] needs 24", Name);
        yield return Case("ShapeTooSmall", File("{" + Entry(Name, "F16", "2,2", "0,16") + "}", 16), "has 16 bytes where F16 [2, 2] needs 8", Name);
        yield return Case("NegativeOffset", File("{" + Entry(Name, "F32", "4", "-16,0") + "}", 16), "whole number", Name);
        yield return Case("OffsetsReversed", File("{" + Entry(Name, "F32", "4", "16,0") + "}", 16), "instead of a begin and an end", Name);
        yield return Case("OneOffset", File("{" + Entry(Name, "F32", "4", "16") + "}", 16), "instead of a begin and an end", Name);
        yield return Case("OffsetPastEnd", File("{" + Entry(Name, "F32", "4", "8,24") + "}", 16), "ends at byte 24 of the data but the file has only 16", Name);
        yield return Case("Truncated", File("{" + good + "}", 15), "ends at byte 16 of the data but the file has only 15", Name);
        yield return Case("BytesAfterLastTensor", File("{" + good + "}", 17), "1 bytes at its end belong to no tensor");
        yield return Case("NoTensorsButBytes", File("{}", 4), "4 bytes at its end belong to no tensor");
        yield return Case("Hole", File("{" + Entry("a", "F32", "1", "0,4") + "," + Entry(Name, "F32", "1", "8,12") + "}", 12), "a hole of 4 bytes", Name);
        yield return Case("HoleAtBegin", File("{" + Entry(Name, "F32", "1", "4,8") + "}", 8), "a hole of 4 bytes", Name);
        yield return Case("Overlap", File("{" + Entry("a", "F32", "2", "0,8") + "," + Entry(Name, "F32", "2", "4,12") + "}", 12), "overlap", Name);
        yield return Case("SameBytesTwice", File("{" + Entry("a", "F32", "2", "0,8") + "," + Entry(Name, "F32", "2", "0,8") + "}", 8), "overlap", Name);
        yield return Case("DuplicateName", File("{" + good + "," + good + "}", 16), "listed twice", Name);
        yield return Case("DuplicateNameEscaped", File("{" + good + "," + good.Replace("block", "bl\\u006fck", StringComparison.Ordinal) + "}", 16), "listed twice", Name);
        yield return Case("DuplicateShape", File($"{{\"{Name}\":{{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}}}", 4), "'shape' twice", Name);
        yield return Case("DuplicateMetadata", File("{\"__metadata__\":{},\"__metadata__\":{}}"), "'__metadata__' twice");
        yield return Case("DuplicateMetadataKey", File("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}"), "'k' twice");
        yield return Case("MetadataNotObject", File("{\"__metadata__\":[]}"), "'__metadata__' is not a JSON object");
        yield return Case("MetadataNotText", File("{\"__metadata__\":{\"k\":1}}"), "is not text");
        yield return Case("NewlineInName", File("{\"a\\nb\":7}"), "'a?b'");

        static TestCaseData Case(string name, byte[] file, string message, string tensor = "")
            => new TestCaseData(file, message, tensor).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Hostile))]
    public void Open_HostileFile_IsRefusedInOneSentenceNamingFileAndTensor(byte[] file, string message, string tensor)
    {
        string path = Write(file);
        InvalidWeightsException? failure = Assert.Throws<InvalidWeightsException>(() => SafetensorsFile.Open(path));
        Assert.That(failure!.Message, Does.Contain(path).And.Contain(message).And.Contain(tensor).And.EndsWith("."));
        Assert.That(failure.Message, Does.Not.Contain("\n"));
        System.IO.File.Delete(path); // Refused on Windows if the handle were still open.
    }

    [Test]
    public void Open_MissingFile_NamesIt()
        => Assert.That(() => SafetensorsFile.Open(folder["none.safetensors"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("none.safetensors").And.Message.Contains("no such file"));

    [Test]
    public void Open_Folder_SaysSo()
        => Assert.That(() => SafetensorsFile.Open(folder.Path), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("it is a folder"));

    [Test]
    public void InvalidWeightsException_IsAnIOException()
        => Assert.That(new InvalidWeightsException("x"), Is.InstanceOf<IOException>());

    [TestCase("BOOL", WeightDType.Boolean, 1)]
    [TestCase("U8", WeightDType.UInt8, 1)]
    [TestCase("I8", WeightDType.Int8, 1)]
    [TestCase("F8_E4M3", WeightDType.Float8E4M3, 1)]
    [TestCase("F8_E5M2", WeightDType.Float8E5M2, 1)]
    [TestCase("I16", WeightDType.Int16, 2)]
    [TestCase("U16", WeightDType.UInt16, 2)]
    [TestCase("F16", WeightDType.Float16, 2)]
    [TestCase("BF16", WeightDType.BFloat16, 2)]
    [TestCase("I32", WeightDType.Int32, 4)]
    [TestCase("U32", WeightDType.UInt32, 4)]
    [TestCase("F32", WeightDType.Float32, 4)]
    [TestCase("F64", WeightDType.Float64, 8)]
    [TestCase("I64", WeightDType.Int64, 8)]
    [TestCase("U64", WeightDType.UInt64, 8)]
    public void Open_EveryDType_IsListedAndReadAsIs(string name, WeightDType dtype, int size)
    {
        using SafetensorsFile file = SafetensorsFile.Open(Write(File("{" + Entry("t", name, "3,1", $"0,{3 * size}") + "}", 3 * size)));
        WeightInfo info = file.Find("t")!;
        byte[] bytes = new byte[info.ByteCount];
        file.Read("t", bytes);
        Assert.Multiple(() =>
        {
            Assert.That(info.DType, Is.EqualTo(dtype));
            Assert.That(info.DType.Size(), Is.EqualTo(size));
            Assert.That(info.ToString(), Is.EqualTo($"{name} [3, 1]"));
            Assert.That(bytes, Is.EqualTo(Enumerable.Range(0, 3 * size).Select(i => (byte)i)));
        });
    }

    [Test]
    public void Open_ScalarEmptyTensorMetadataAndPadding_AreAccepted()
    {
        string header = "{\"__metadata__\":{\"format\":\"pt\",\"é\":\"ü\"}," + Entry("scalar", "F32", "", "0,4") + ","
            + Entry("none", "F32", "0,5", "4,4") + "," + Entry("last", "U8", "2", "4,6") + "}   ";
        using SafetensorsFile file = SafetensorsFile.Open(Write(File(header, 6)));
        file.Read("none", []);
        Assert.Multiple(() =>
        {
            Assert.That(file.Names, Is.EqualTo(new[] { "last", "none", "scalar" }));
            Assert.That(file.Metadata["format"], Is.EqualTo("pt"));
            Assert.That(file.Metadata["é"], Is.EqualTo("ü"));
            Assert.That(file.Find("scalar")!.Shape, Is.Empty);
            Assert.That(file.Find("scalar")!.ElementCount, Is.EqualTo(1));
            Assert.That(file.Find("missing"), Is.Null);
            Assert.That(file.TensorBytes, Is.EqualTo(6));
        });
    }

    [Test]
    public void Open_UnknownKeyInEntry_IsIgnoredAsInTheReferenceImplementation()
    {
        string header = "{\"t\":{\"dtype\":\"U8\",\"note\":{\"a\":[1,{}]},\"shape\":[2],\"data_offsets\":[0,2]}}";
        using SafetensorsFile file = SafetensorsFile.Open(Write(File(header, 2)));
        Assert.That(file.Find("t")!.ElementCount, Is.EqualTo(2));
    }

    [Test]
    public void Read_FileCutShortAfterOpening_IsAnExceptionNamingTheTensor()
    {
        string path = Write(Floats(("t", [4], [1, 2, 3, 4])));
        using SafetensorsFile file = SafetensorsFile.Open(path);
        using (FileStream stream = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            stream.SetLength(stream.Length - 6);
        }

        Assert.That(() => file.Read("t", new byte[16]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("'t'").And.Message.Contains(path));
    }

    [Test]
    public void Read_WrongDestinationOrName_Throws()
    {
        using SafetensorsFile file = SafetensorsFile.Open(Write(Floats(("t", [1], [1]))));
        Assert.Multiple(() =>
        {
            Assert.That(() => file.Read("t", new byte[3]), Throws.ArgumentException);
            Assert.That(() => file.Read("u", new byte[4]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("'u'"));
        });
    }

    [Test]
    public void Read_EveryTensorOfAFixtureFromManyThreads_EqualsTheTestReader()
    {
        string path = Fixtures.PathOf("models", "sd1", "text_encoder", "model.safetensors");
        TensorFile expected = TensorFile.Read(path);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.That(file.Names, Is.EquivalentTo(expected.Names));
        Parallel.ForEach(Enumerable.Repeat(file.Names, 8).SelectMany(names => names), name =>
        {
            WeightInfo info = file.Find(name)!;
            byte[] bytes = new byte[info.ByteCount];
            file.Read(name, bytes);
            TestTensor tensor = expected[name];
            bool same = tensor.DType == "F32"
                ? MemoryMarshal.Cast<byte, float>(bytes).SequenceEqual(tensor.As<float>())
                : MemoryMarshal.Cast<byte, long>(bytes).SequenceEqual(tensor.As<long>());
            Assert.That(same && info.Shape.Select(d => (int)d).SequenceEqual(tensor.Shape), name);
        });
    }

    /// <summary>
    /// 5,000 damaged copies of a small file: flipped, inserted, removed and repeated bytes. Whatever comes out is a file whose every
    /// tensor can be read, or the one exception type. The generator is seeded, so a failure repeats.
    /// </summary>
    [Test]
    public void Open_MutatedBytes_GivesAReadableFileOrInvalidWeightsException()
    {
        byte[] good = File("{\"__metadata__\":{\"format\":\"pt\"}," + Entry("a.weight", "F16", "2,3", "0,12") + "," + Entry("a.bias", "F32", "2", "12,20") + "}", 20);
        string path = folder["mutant.safetensors"];
        System.Random random = new(20240607);
        int accepted = 0;
        for (int round = 0; round < 5_000; round++)
        {
            byte[] mutant = Mutate(good, random);
            System.IO.File.WriteAllBytes(path, mutant);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(path);
                foreach (string name in file.Names)
                {
                    file.Read(name, new byte[file.Find(name)!.ByteCount]);
                }

                accepted++;
            }
            catch (InvalidWeightsException)
            {
                continue;
            }
            catch (Exception failure)
            {
                Assert.Fail($"round {round}: {failure.GetType().Name} from {Convert.ToHexString(mutant)}: {failure.Message}");
            }
        }

        Assert.That(accepted, Is.GreaterThan(0).And.LessThan(2_500), "mutants that are still files");
    }

    private static byte[] Mutate(byte[] good, System.Random random)
    {
        List<byte> bytes = [.. good];
        byte[] interesting = [.. "{}[]\",:0123456789-.eE\\u \0\xFF"u8];
        for (int changes = random.Next(1, 4); changes > 0; changes--)
        {
            int at = random.Next(bytes.Count);
            switch (random.Next(5))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = interesting[random.Next(interesting.Length)];
                    break;
                case 2:
                    bytes.Insert(at, interesting[random.Next(interesting.Length)]);
                    break;
                case 3:
                    bytes.RemoveAt(at);
                    break;
                default:
                    bytes.InsertRange(at, bytes.GetRange(at, Math.Min(random.Next(1, 40), bytes.Count - at)));
                    break;
            }
        }

        // Half of them with the header length put right, so that damage reaches the parser and the checks behind it.
        if (random.Next(2) == 0 && bytes.Count > 28)
        {
            byte[] rest = [.. bytes[8..]];
            return WithPrefix((ulong)(rest.Length - 20), rest);
        }

        return [.. bytes];
    }

    private string Write(byte[] file)
    {
        string path = folder[$"{Guid.NewGuid():N}.safetensors"];
        System.IO.File.WriteAllBytes(path, file);
        return path;
    }
}
