using System.Text.Json;
using StableDiffusion.Tests.Support;
using StableDiffusion.Tokenizers;

namespace StableDiffusion.Tests.Parity;

/// <summary>Every prompt of <c>tokenizer/goldens.json</c> with the built-in CLIP vocabulary: the ids must be equal.</summary>
[Category("Parity")]
public class TokenizerParityTests
{
    private static readonly Lazy<JsonElement> Document = new(() => Fixtures.ReadJson("tokenizer", "goldens.json"));
    private static readonly Lazy<ClipTokenizer> Tokenizer = new(() => ClipTokenizer.Clip());

    private static IEnumerable<TestCaseData> Prompts()
    {
        int number = 0;
        foreach (JsonElement prompt in Document.Value.GetProperty("prompts").EnumerateArray())
        {
            yield return new TestCaseData(prompt.GetProperty("text").GetString(), Ids(prompt)).SetArgDisplayNames($"{number++}: {Shown(prompt.GetProperty("text").GetString()!)}");
        }
    }

    [TestCaseSource(nameof(Prompts))]
    public void Encode_Prompt_GivesTheReferenceIds(string text, int[] expected)
    {
        int[] actual = Tokenizer.Value.Encode(text);
        Tolerances.AssertEqual<int>(actual, expected, [expected.Length], text);
    }

    /// <summary>The fixture's rule_for_length: the first 76 and the end token, or padding.</summary>
    [TestCaseSource(nameof(Prompts))]
    public void EncodePadded_Prompt_FollowsTheRuleForLength(string text, int[] expected)
    {
        int length = Document.Value.GetProperty("max_length").GetInt32();
        int end = Document.Value.GetProperty("end").GetInt32();
        int[] padded = expected.Length > length ? [.. expected[..(length - 1)], end] : [.. expected, .. Enumerable.Repeat(end, length - expected.Length)];
        PaddedPrompt actual = Tokenizer.Value.EncodePadded(text);
        Tolerances.AssertEqual<int>(actual.Ids.AsSpan(), padded, [length], text);
        Assert.That(actual.DroppedTokenCount, Is.EqualTo(Math.Max(0, expected.Length - length)));
    }

    [Test]
    public void Clip_SpecialIds_AreTheFixtures()
        => Assert.That((Tokenizer.Value.StartId, Tokenizer.Value.EndId, Tokenizer.Value.MaxLength), Is.EqualTo(
            (Document.Value.GetProperty("start").GetInt32(), Document.Value.GetProperty("end").GetInt32(), Document.Value.GetProperty("max_length").GetInt32())));

    private static int[] Ids(JsonElement prompt) => [.. prompt.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];

    // Test names in plain ASCII, short: reports and shells cope badly with anything else.
    private static string Shown(string text)
        => string.Concat(text.Take(40).Select(c => c is >= ' ' and <= '~' and not '"' ? c.ToString() : $"u{(int)c:X4}"));
}
