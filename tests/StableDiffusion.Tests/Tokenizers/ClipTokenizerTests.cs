using StableDiffusion.Tests.Support;
using StableDiffusion.Tokenizers;

namespace StableDiffusion.Tests.Tokenizers;

/// <summary>What the goldens leave open: cleaning, lengths, decoding, threads and the merging rule itself.</summary>
public class ClipTokenizerTests
{
    private static readonly ClipTokenizer Clip = ClipTokenizer.Clip();

    private static string VocabularyFolder => Path.Combine(Fixtures.RepositoryRoot(), "src", "StableDiffusion", "Tokenizers", "clip-vocab");

    /// <summary>The folder has vocab.json as released; the embedded tokenizer makes its own from the merges.</summary>
    [Test]
    public void Clip_EmbeddedVocabulary_EqualsTheReleasedFiles()
    {
        ClipTokenizerFiles embedded = ClipTokenizerFiles.ReadEmbedded("!");
        ClipTokenizerFiles released = ClipTokenizerFiles.Read(VocabularyFolder);
        Assert.Multiple(() =>
        {
            Assert.That(embedded.Vocabulary, Has.Count.EqualTo(49408));
            Assert.That(released.Vocabulary, Has.Count.EqualTo(49408));
            Assert.That(released.Vocabulary.Where(p => embedded.Vocabulary.GetValueOrDefault(p.Key, -1) != p.Value), Is.Empty);
            Assert.That(embedded.Merges.SequenceEqual(released.Merges));
            Assert.That((released.StartToken, released.EndToken, released.PadToken, released.MaxLength), Is.EqualTo((embedded.StartToken, embedded.EndToken, embedded.EndToken, 77)));
        });
    }

    /// <summary>Ids of the first line: the vocabulary's README; others by the same rule from the vocabulary's files.</summary>
    [TestCase("a photo of a cat", new[] { 49406, 320, 1125, 539, 320, 2368, 49407 })]
    [TestCase("  a\tPHOTO\u00A0of \n a\u3000cat\u2028", new[] { 49406, 320, 1125, 539, 320, 2368, 49407 })]
    [TestCase("", new[] { 49406, 49407 })]
    [TestCase("<|STARTOFTEXT|>", new[] { 49406, 49406, 49407 })]
    [TestCase("\u0345", new[] { 49406, 49407 })]
    public void Encode_Text_GivesIds(string text, int[] expected) => Assert.That(Clip.Encode(text), Is.EqualTo(expected));

    [TestCase("IT'S", "it", "'s")]
    [TestCase("we'll've", "we", "'ll", "'ve")]
    [TestCase("'TIS", "'t", "is")]
    [TestCase("''s", "''", "s")]
    [TestCase("it'\u017F", "it", "'\u017F")]
    [TestCase("abc123,!?x", "abc", "1", "2", "3", ",!?", "x")]
    [TestCase("!<|endoftext|>", "!<|", "endoftext", "|>")]
    [TestCase("<|endoftext|>!", "<|endoftext|>", "!")]
    [TestCase("<|\u017Ftartoftext|>", "<|\u017Ftartoftext|>")]
    [TestCase("\u0130z", "i", "\u0307", "z")]
    [TestCase("\uD835\uDD04\uD835\uDD05b", "\uD835\uDD04\uD835\uDD05b")]
    [TestCase("\uD801\uDC00", "\uD801\uDC28")]
    [TestCase("\uD83D\uDC31\uD83D\uDC36a", "\uD83D\uDC31\uD83D\uDC36", "a")]
    [TestCase("\u2160\u2161", "\u2170", "\u2171")]
    [TestCase("q\u0345r", "q", "r")]
    [TestCase("\u001C", "\u001C")]
    [TestCase("\u03A3\u03A3", "\u03C3\u03C3")]
    public void Split_Text_GivesWords(string text, params string[] expected)
        => Assert.That(ClipWords.Split(text, ["<|startoftext|>", "<|endoftext|>"]), Is.EqualTo(expected));

    [Test]
    public void EncodePadded_TooLong_SaysWhatWasDropped()
    {
        string text = string.Join(' ', Enumerable.Repeat("cat", 75)) + " Golden  Retriever, caf\u00E9";
        PaddedPrompt padded = Clip.EncodePadded(text);
        Assert.Multiple(() =>
        {
            Assert.That(padded.Ids, Has.Length.EqualTo(77));
            Assert.That(padded.Ids[0], Is.EqualTo(49406));
            Assert.That(padded.Ids[75], Is.EqualTo(2368));
            Assert.That(padded.Ids[76], Is.EqualTo(49407));
            Assert.That(padded.DroppedText, Is.EqualTo("golden retriever , caf\u00E9"));
            Assert.That(padded.DroppedTokenCount, Is.EqualTo(padded.TokenCount - 75));
        });
    }

    [Test]
    public void EncodePadded_Fits_DropsNothing()
    {
        PaddedPrompt padded = ClipTokenizer.Clip("!").EncodePadded("a cat");
        Assert.Multiple(() =>
        {
            Assert.That(padded.Ids, Is.EqualTo(new[] { 49406, 320, 2368, 49407 }.Concat(Enumerable.Repeat(0, 73))));
            Assert.That((padded.TokenCount, padded.DroppedTokenCount, padded.DroppedText), Is.EqualTo((2, 0, "")));
        });
    }

    /// <summary>One word of 10,000 letters must not take quadratic time: the limit is far above what it needs, far below n^2 merges.</summary>
    [Test]
    [CancelAfter(20_000)]
    public void Encode_TenThousandCharacters_IsCutWithAWarning(CancellationToken cancel)
    {
        string[] prompts = [new('a', 10_000), string.Join(", ", Enumerable.Repeat("very detailed", 667)), string.Concat(Enumerable.Repeat("\U0001F431", 5_000))];
        foreach (string prompt in prompts)
        {
            PaddedPrompt padded = Clip.EncodePadded(prompt);
            cancel.ThrowIfCancellationRequested();
            Assert.That(padded.Ids, Has.Length.EqualTo(77));
            Assert.That(padded.DroppedTokenCount, Is.EqualTo(padded.TokenCount - 75).And.GreaterThan(500));
        }
    }

    [TestCase("a photo of a cat", "a photo of a cat")]
    [TestCase("It's 35mm, f/1.8!", "it 's 3 5 mm , f / 1 . 8 !")]
    [TestCase("\u732B\u306E\u5199\u771F \U0001F431", "\u732B\u306E\u5199\u771F \U0001F431")]
    [TestCase("a <|endoftext|> b", "a <|endoftext|> b")]
    public void Decode_IdsOfAText_GivesItBackWithWordsApart(string text, string expected)
        => Assert.That(Clip.Decode(Clip.Encode(text).AsSpan()[1..^1]), Is.EqualTo(expected));

    [Test]
    public void Decode_UnknownId_IsAReplacementCharacter() => Assert.That(Clip.Decode([49408, -1]), Is.EqualTo("\uFFFD\uFFFD"));

    [Test]
    public void Encode_ManyThreads_GiveTheSameIds()
    {
        const string Text = "A cr\u00E8me br\u00FBl\u00E9e, e\u0301tude, 35mm photo";
        int[] expected = Clip.Encode(Text);
        Parallel.For(0, 200, _ => Assert.That(Clip.Encode(Text), Is.EqualTo(expected)));
    }

    /// <summary>The queue against the definition, on random words over few letters and random merges, also ones no training would give.</summary>
    [Test]
    public void Encode_RandomMerges_EqualsTheDefinition()
    {
        System.Random random = new(77);
        for (int round = 0; round < 300; round++)
        {
            List<string> symbols = ["a", "b", "c", "a</w>", "b</w>", "c</w>"];
            List<(string Left, string Right)> merges = [];
            for (int i = random.Next(1, 12); i > 0; i--)
            {
                string left = symbols[random.Next(symbols.Count)];
                string right = symbols[random.Next(symbols.Count)];
                if (!left.EndsWith("</w>", StringComparison.Ordinal))
                {
                    merges.Insert(random.Next(merges.Count + 1), (left, right));
                    symbols.Add(left + right);
                }
            }

            Dictionary<string, int> vocabulary = symbols.Distinct().Select((symbol, id) => (symbol, id)).ToDictionary(p => p.symbol, p => p.id);
            BytePairEncoder encoder = new(vocabulary, merges, unknown: 999);
            string word = string.Concat(Enumerable.Range(0, random.Next(1, 40)).Select(_ => "abc"[random.Next(3)]));
            List<int> ids = [];
            encoder.Encode(word, ids);
            Assert.That(ids, Is.EqualTo(ByDefinition(word, merges).Select(s => vocabulary[s])), $"round {round}: {word} with {string.Join(' ', merges)}");
        }
    }

    // Join every occurrence of the best pair from left to right; again until none is left.
    private static List<string> ByDefinition(string word, List<(string Left, string Right)> merges)
    {
        List<string> parts = [.. word.Select(c => c.ToString())];
        parts[^1] += "</w>";
        while (true)
        {
            // Of a pair that is listed twice the later place counts.
            int best = parts.Zip(parts.Skip(1)).Select(p => merges.FindLastIndex(m => m == p)).Where(rank => rank >= 0).DefaultIfEmpty(-1).Min();
            if (best < 0)
            {
                return parts;
            }

            for (int i = 0; i + 1 < parts.Count; i++)
            {
                if ((parts[i], parts[i + 1]) == merges[best])
                {
                    parts[i] += parts[i + 1];
                    parts.RemoveAt(i + 1);
                }
            }
        }
    }
}
