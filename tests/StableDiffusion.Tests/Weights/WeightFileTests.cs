using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Weights;

/// <summary>Files are opened by what is in them, and what is no file of weights is named.</summary>
public class WeightFileTests
{
    private const int ManyValues = 9_000_000;

    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    private static IEnumerable<TestCaseData> Foreign()
    {
        yield return Case("Empty", [], "it is empty");
        yield return Case("GitLfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n", "pointer of Git LFS");
        yield return Case("WebPage", "\r\n <!DOCTYPE html><html></html>", "it is a web page");
        yield return Case("Gguf", "GGUF\u0003\0\0\0", "it is a GGUF file");
        yield return Case("Onnx", "\u0008\u0007\u0012\u0007pytorch", "it is an ONNX model");
        yield return Case("Hdf5", [0x89, .. "HDF\r\n\x1a\n"u8], "HDF5");
        yield return Case("Json", "{\"a\":1}", "no object 'weight_map'");
        yield return Case("Text", "hello, this is no model", "neither a safetensors file nor one of PyTorch");
        yield return Case("ZipCutShort", "PK\u0003\u0004abc", "no zip directory at its end, so it is truncated");
        yield return Case("SafetensorsCutShort", SafetensorsBytes.WithPrefix(100, [.. "{\"a\""u8]), "truncated");
        yield return Case("PlainPickle", [0x80, 2, (byte)'K', 1, (byte)'.'], "a Python pickle, but none that torch.save wrote");
        yield return Case("PickleOfNewProtocol", [0x80, 9, (byte)'.'], "neither a safetensors file nor one of PyTorch");
        yield return Case("PlainZip", Zip(("readme.txt", "hello")), "a zip archive without PyTorch weights");
        yield return Case("EmptyZip", Zip(), "a zip archive without PyTorch weights");
        yield return Case("TorchScript", Zip(("m/data.pkl", "N."), ("m/constants.pkl", "N.")), "a TorchScript program");
        yield return Case("ZipCompressed", Zip(CompressionLevel.Optimal, ("m/data.pkl", new string('N', 100) + ".")), "is compressed or encrypted");
        yield return Case("ZipOtherOrder", Zip(("m/data.pkl", "}."), ("m/byteorder", "middle")), "unknown byte order 'middle'");
    }

    /// <summary>Pickles of a zip that is otherwise right: what is wrong, and a part of the sentence that says so.</summary>
    private static IEnumerable<TestCaseData> Damaged()
    {
        yield return Case("NoDict", "N.", "no dict of tensors");
        yield return Case("EmptyDict", "}.", "it has no tensors");
        yield return Case("NothingBeforeStop", ".", "takes a value where there is none");
        yield return Case("NoStop", "N", "ends in the middle of its pickled part");
        yield return Case("UnknownOpcode", "\u0007.", "unknown opcode 7 at byte");
        yield return Case("UnknownBinaryOpcode", [0xff], "unknown opcode 255");
        yield return Case("NoMark", "t.", "goes back to a mark");
        yield return Case("MarkKeepsApart", "N(a.", "takes a value where there is none");
        yield return Case("KeyWithoutValue", "}(Nu.", "a key without a value");
        yield return Case("AppendToDict", "}Na.", "appends to what is no list");
        yield return Case("ItemOfList", "]NNs.", "sets entries of what is no dict");
        yield return Case("CallOfNumber", "I1\n)R.", "calls what is no class or function");
        yield return Case("CallWithList", "ccollections\nOrderedDict\n]R.", "arguments that are no tuple");
        yield return Case("CallOfStorage", "ctorch\nFloatStorage\n)R.", "calls torch.FloatStorage in a way");
        yield return Case("TensorOfNothing", "ctorch._utils\n_rebuild_tensor_v2\n)R.", "calls torch._utils._rebuild_tensor_v2 in a way");
        yield return Case("RecallOfNothing", "h\u0005.", "recalls the value 5");
        yield return Case("MemoKeyNoNumber", "gx\n.", "memo key");
        yield return Case("TextTooLong", [(byte)'X', 0xff, 0xff, 0xff, 0x7f], "ends in the middle of its pickled part");
        yield return Case("TextAbsurd", [0x8d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "ends in the middle of its pickled part");
        yield return Case("TextNotUtf8", [0x8c, 1, 0xff, (byte)'.'], "not valid UTF-8");
        yield return Case("NegativeLength", [(byte)'T', 0xff, 0xff, 0xff, 0xff], "negative length");
        yield return Case("IntegerTooLong", [0x8a, 200, .. new byte[200]], "whole number of 200 bytes");
        yield return Case("IntegerNoNumber", "Ix\n.", "whole number that cannot be read");
        yield return Case("FloatNoNumber", "Fx\n.", "number that cannot be read");
        yield return Case("TextWithoutQuotes", "Sx\n.", "text without quotes");
        yield return Case("LineTooLong", "I" + new string('1', 5000) + "\n.", "a line of over 4096 characters");
        yield return Case("Extension", [0x82, 1, (byte)'.'], "extension registry");
        yield return Case("BufferOutside", [0x97, (byte)'.'], "buffers outside the file");
        yield return Case("PersistentText", "Px\n.", "refers to a storage in a way");
        yield return Case("PersistentModule", "(S'module'\nNtQ.", "a whole Python module");
        yield return Case("ManyValues", new string('N', ManyValues), "over 4000000 values");
        yield return Case("ManyMarks", new string('(', ManyValues), "over 4000000 values");
        yield return Case("ManyTimesTheSame", "]q\0(" + new string('N', 100_000) + "e0" + string.Concat(Enumerable.Repeat("cbuiltins\ntuple\nh\0\u0085R", 100)) + ".", "copies over 4000000 values", raw: true);
        yield return Case("OneTensor", Tensor("", "(I2\nt", "(I1\nt") + ".", "one tensor without a name");
        yield return Case("NameNoText", "}I1\n" + Tensor() + "s.", "a tensor whose name is no text");
        yield return Case("StorageMissing", "}S't'\n" + Tensor(key: "9") + "s.", "storage '9' of the tensor 't' is missing");
        yield return Case("PastStorage", "}S't'\n" + Tensor("", "(I5\nt", "(I1\nt") + "s.", "the tensor 't', F32 [5], reaches byte 20 of its storage, which has only 16");
        yield return Case("StridePastStorage", "}S't'\n" + Tensor("", "(I2\nt", "(I4\nt") + "s.", "reaches byte 20");
        yield return Case("ClaimedCountTooSmall", "}S't'\n" + Tensor("", "(I4\nt", "(I1\nt", count: "2") + "s.", "reaches byte 16 of its storage, which has only 8");
        yield return Case("NegativeSide", "}S't'\n" + Tensor("", "(I-2\nt", "(I1\nt") + "s.", "negative size, stride or offset");
        yield return Case("NegativeStride", "}S't'\n" + Tensor("", "(I2\nt", "(I-1\nt") + "s.", "negative size, stride or offset");
        yield return Case("NegativeOffset", "}S't'\n" + Tensor("-1", "(I2\nt", "(I1\nt") + "s.", "negative size, stride or offset");
        yield return Case("Overflow", "}S't'\n" + Tensor("", "(I4294967296\nI4294967296\nt", "(I0\nI0\nt") + "s.", "overflow 64 bits");
        yield return Case("StrideOverflow", "}S't'\n" + Tensor("", "(I4\nt", "(I9223372036854775807\nt") + "s.", "overflow 64 bits");
        yield return Case("SideNoNumber", "}S't'\n" + Tensor("", "(Nt", "(I1\nt") + "s.", "no whole numbers");
        yield return Case("FewerStrides", "}S't'\n" + Tensor("", "(I1\nI1\nt", "(I1\nt") + "s.", "2 dimensions and 1 strides");
        yield return Case("SeveralDicts", "}S'a'\n}S't'\n" + Tensor() + "ssS'b'\n}S't'\n" + Tensor() + "ss.", "several dicts of tensors ('a', 'b')");
        yield return Case("NewLineInGlobal", [0x80, 4, 0x8c, 2, (byte)'o', (byte)'\n', 0x8c, 1, (byte)'x', 0x93, (byte)'.'], "asks Python for o?.x,");
    }

    [TestCaseSource(nameof(Foreign))]
    public void Open_NoFileOfWeights_SaysWhatItIs(byte[] content, string message) => ExpectRefusal(content, message);

    [TestCaseSource(nameof(Damaged))]
    public void Open_DamagedPickle_IsRefusedInOneSentence(byte[] pickle, string message) => ExpectRefusal(WithStorage(pickle), message);

    private void ExpectRefusal(byte[] content, string message)
    {
        string path = folder["model.bin"];
        File.WriteAllBytes(path, content);
        InvalidWeightsException? failure = Assert.Throws<InvalidWeightsException>(() => WeightFile.Open(path).Dispose());
        Assert.That(failure!.Message, Does.StartWith($"'{path}' ").And.Contain(message).And.EndsWith("."));
        Assert.That(failure.Message, Does.Not.Contain("\n"));
        File.Delete(path); // Refused on Windows if the handle were still open.
    }

    [Test]
    public void Open_MissingFile_NamesIt()
        => Assert.That(() => WeightFile.Open(folder["none.ckpt"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("none.ckpt").And.Message.Contains("no such file"));

    [Test]
    public void Open_Folder_SaysSo()
        => Assert.That(() => WeightFile.Open(folder.Path), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("it is a folder"));

    [Test]
    public void Open_SafetensorsOfAnyName_IsOpened()
    {
        // A header of 123 bytes begins with the byte of '{', as JSON does.
        byte[] header = Encoding.UTF8.GetBytes(("{" + SafetensorsBytes.Entry("a", "U8", "1", "0,1") + "}").PadRight(123));
        File.WriteAllBytes(folder["model.ckpt"], SafetensorsBytes.File(header, 1));
        using IWeightSource source = WeightFile.Open(folder["model.ckpt"]);
        Assert.That(source, Is.InstanceOf<SafetensorsFile>());
        Assert.That(source.Names, Is.EqualTo(new[] { "a" }));
    }

    [Test]
    public void Open_IndexThatNamesItself_IsRefused()
    {
        File.WriteAllText(folder["x.index.json"], """{"weight_map":{"a":"x.index.json"}}""");
        Assert.That(() => WeightFile.Open(folder["x.index.json"]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("it is JSON"));
    }

    [Test]
    public void Open_TensorOfAnyProtocol_IsRead()
    {
        File.WriteAllBytes(folder["t.pt"], WithStorage(Encoding.Latin1.GetBytes("}S't'\n" + Tensor("1", "(I3\nt", "(I1\nt") + "s.")));
        using TorchFile file = TorchFile.Open(folder["t.pt"]);
        byte[] read = new byte[12];
        file.Read("t", read);
        Assert.That(read, Is.EqualTo(Enumerable.Range(4, 12).Select(i => (byte)i))); // The storage is 0, 1, 2, ...
    }

    [Test]
    public void Open_ManyKeysOfOneDict_EndsSoon()
    {
        // 100 000 keys with the same dict of 100 000 values: looked at once each, or for hours.
        StringBuilder pickle = new("}q\0(");
        pickle.Insert(pickle.Length, "K\u0001N", 100_000).Append("u}(").Insert(pickle.Length, "K\u0001h\0", 100_000).Append("u.");
        ExpectRefusal(WithStorage(Encoding.Latin1.GetBytes(pickle.ToString())), "it has no tensors");
    }

    [TestCase(6, 0xffffffffffffffffUL)]
    [TestCase(2, 0x7fffffffffffffffUL)]
    [TestCase(0, 1UL << 40)]
    public void Open_ZipDirectoryWithHostileSizes_IsRefused(int field, ulong value)
    {
        // A zip64 end record whose fields (entries, bytes, begin of the directory) are all the value, from the field on.
        byte[] record = new byte[56 + 20 + 22];
        BinaryPrimitives.WriteUInt32LittleEndian(record, 0x06064b50);
        for (int at = 32 + (field * 2); at <= 48; at += 8)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(at), value);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(56), 0x07064b50);
        BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(64), 4);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(76), 0x06054b50);
        ExpectRefusal([.. "PK\u0003\u0004"u8, .. record], "zip");
    }

    [Test]
    public void Open_Zip64_IsRead()
    {
        // The same archive with its directory's place and an entry's sizes and place in zip64 fields, as for files over 4 GB.
        byte[] plain = WithStorage(Encoding.Latin1.GetBytes("}S't'\n" + Tensor() + "s."));
        File.WriteAllBytes(folder["t.pt"], ZipBytes.ToZip64(plain));
        using TorchFile file = TorchFile.Open(folder["t.pt"]);
        byte[] read = new byte[8];
        file.Read("t", read);
        Assert.That(read, Is.EqualTo(new byte[] { 0, 1, 2, 3, 4, 5, 6, 7 }));
    }

    // The opcodes of a float32 tensor on the storage of WithStorage.
    private static string Tensor(string offset = "0", string shape = "(I2\nt", string strides = "(I1\nt", string count = "4", string key = "0")
        => $"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'cpu'\nI{count}\ntQI{(offset.Length > 0 ? offset : "0")}\n{shape}{strides}I00\nNtR";

    // An archive with a pickle and one storage of 16 bytes 0, 1, 2, ...
    private static byte[] WithStorage(byte[] pickle)
        => ZipBytes.Stored(("m/data.pkl", pickle), ("m/data/0", [.. Enumerable.Range(0, 16).Select(i => (byte)i)]));

    private static byte[] Zip(params (string Name, string Content)[] entries) => Zip(CompressionLevel.NoCompression, entries);

    private static byte[] Zip(CompressionLevel level, params (string Name, string Content)[] entries)
        => ZipBytes.Make(level, [.. entries.Select(entry => (entry.Name, Encoding.Latin1.GetBytes(entry.Content)))]);

    private static TestCaseData Case(string name, string content, string message, bool raw = false) => Case(name, raw ? Encoding.Latin1.GetBytes(content) : Encoding.UTF8.GetBytes(content), message);

    private static TestCaseData Case(string name, byte[] content, string message) => new TestCaseData(content, message).SetArgDisplayNames(name);
}
