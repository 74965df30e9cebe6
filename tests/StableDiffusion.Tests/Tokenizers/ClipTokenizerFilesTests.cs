using StableDiffusion.Tests.Support;
using StableDiffusion.Tokenizers;

namespace StableDiffusion.Tests.Tokenizers;

/// <summary>Tokenizer folders: what is read from which file, and bad files.</summary>
public class ClipTokenizerFilesTests
{
    private const string Vocabulary = """{"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"!":5,"<|startoftext|>":6,"<|endoftext|>":7}""";

    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder()
    {
        folder = new TemporaryFolder();
        Write("vocab.json", Vocabulary);
        Write("merges.txt", "#version: 0.2\na b</w>\n");
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void Load_OnlyVocabularyAndMerges_HasClipsDefaults()
    {
        ClipTokenizer tokenizer = ClipTokenizer.Load(folder.Path);
        Assert.Multiple(() =>
        {
            Assert.That((tokenizer.StartId, tokenizer.EndId, tokenizer.PadId, tokenizer.MaxLength, tokenizer.VocabularySize), Is.EqualTo((6, 7, 7, 77, 8)));
            Assert.That(tokenizer.Encode("AB b c"), Is.EqualTo(new[] { 6, 4, 3, 7, 7 }), "c is unknown, and the unknown token is the end token");
        });
    }

    [TestCase("""{"pad_token":"a"}""", null, 0)]
    [TestCase("""{"pad_token":{"content":"a","lstrip":false}}""", null, 0)]
    [TestCase("""{"pad_token":"a"}""", """{"pad_token":"!"}""", 5)]
    [TestCase("""{"pad_token":"a"}""", """{"pad_token":{"content":"!"}}""", 5)]
    [TestCase("""{"pad_token":"a"}""", """{"bos_token":"!"}""", 0)]
    [TestCase(null, """{"pad_token":null}""", 7)]
    public void Load_PadToken_IsTextOrObjectAndTheMapWins(string? config, string? map, int expected)
    {
        Write("tokenizer_config.json", config);
        Write("special_tokens_map.json", map);
        Assert.That(ClipTokenizer.Load(folder.Path).PadId, Is.EqualTo(expected));
    }

    [TestCase("""{"model_max_length":12}""", 12)]
    [TestCase("""{"model_max_length":1000000000000000019884624838656}""", 77)]
    [TestCase("""{"model_max_length":1e30}""", 77)]
    [TestCase("""{"model_max_length":null}""", 77)]
    public void Load_MaxLength_IsReadUnlessItMeansUnknown(string config, int expected)
    {
        Write("tokenizer_config.json", config);
        ClipTokenizer tokenizer = ClipTokenizer.Load(folder.Path);
        Assert.That((tokenizer.MaxLength, tokenizer.EncodePadded("a").Ids.Length), Is.EqualTo((expected, expected)));
    }

    [Test]
    public void Load_WindowsLineEndingsAndNoVersionLine_ReadsAllMerges()
    {
        Write("merges.txt", "a b</w>\r\n\r\n! a\r\n");
        Assert.That(ClipTokenizerFiles.Read(folder.Path).Merges, Is.EqualTo(new[] { ("a", "b</w>"), ("!", "a") }));
    }

    [TestCase("vocab.json", null, "vocab.json' does not exist")]
    [TestCase("merges.txt", null, "merges.txt' does not exist")]
    [TestCase("vocab.json", "{", "vocab.json' cannot be loaded: it is not valid JSON")]
    [TestCase("vocab.json", "[]", "vocab.json' cannot be loaded: it is not a JSON object")]
    [TestCase("vocab.json", """{"a":"b"}""", "the id of 'a' is not a whole number")]
    [TestCase("vocab.json", """{"a":-1}""", "the id of 'a' is not a whole number")]
    [TestCase("vocab.json", "{}", "lacks the start token '<|startoftext|>'")]
    [TestCase("vocab.json", """{"<|startoftext|>":1}""", "lacks the end token '<|endoftext|>'")]
    [TestCase("merges.txt", "#version: 0.2\na b\nabc\n", "line 3 is not two symbols")]
    [TestCase("merges.txt", "a b c\n", "line 1 is not two symbols")]
    [TestCase("tokenizer_config.json", "nonsense", "tokenizer_config.json' cannot be loaded: it is not valid JSON")]
    [TestCase("tokenizer_config.json", """{"pad_token":"zzz"}""", "lacks the padding token 'zzz'")]
    [TestCase("tokenizer_config.json", """{"unk_token":"zzz"}""", "lacks the unknown token 'zzz'")]
    [TestCase("tokenizer_config.json", """{"model_max_length":1}""", "model_max_length of 1")]
    [TestCase("special_tokens_map.json", "7", "special_tokens_map.json' cannot be loaded: it is not a JSON object")]
    public void Load_BadFile_IsRefusedInOneSentenceNamingIt(string file, string? content, string message)
    {
        Write(file, content);
        Assert.That(() => ClipTokenizer.Load(folder.Path), Throws.TypeOf<InvalidTokenizerException>()
            .With.Message.Contains(message).And.Message.Contains(folder.Path).And.Message.EndsWith(".").And.InstanceOf<IOException>());
    }

    [Test]
    public void Load_MissingFolder_NamesIt()
        => Assert.That(() => ClipTokenizer.Load(folder["tokenizer"]), Throws.TypeOf<InvalidTokenizerException>().With.Message.Contains(folder["tokenizer"]));

    [TestCase("sd1", "tokenizer", true)]
    [TestCase("sd2", "tokenizer", false)]
    [TestCase("sdxl", "tokenizer", true)]
    [TestCase("sdxl", "tokenizer_2", false)]
    public void Load_FixtureModel_PadsAsItsFamilyDoes(string model, string part, bool padsWithEnd)
    {
        ClipTokenizer tokenizer = ClipTokenizer.Load(Fixtures.PathOf("models", model, part));
        Assert.Multiple(() =>
        {
            Assert.That(tokenizer.PadId, Is.EqualTo(padsWithEnd ? tokenizer.EndId : 0));
            Assert.That(tokenizer.EndId, Is.EqualTo(tokenizer.VocabularySize - 1));
            Assert.That(tokenizer.StartId, Is.EqualTo(tokenizer.VocabularySize - 2));
        });
    }

    private void Write(string file, string? content)
    {
        File.Delete(folder[file]);
        if (content is not null)
        {
            File.WriteAllText(folder[file], content);
        }
    }
}
