using System.Text;
using StableDiffusion.Tokenizers;

namespace StableDiffusion.Tests.Tokenizers;

/// <summary>
/// Form C. The expected texts are examples of Unicode Standard Annex 15 and of the Unicode Character Database's NormalizationTest.txt,
/// confirmed with Python's unicodedata.
/// </summary>
public class UnicodeNormalizationTests
{
    [TestCase("0041 030A", "00C5", Description = "compose")]
    [TestCase("212B", "00C5", Description = "singleton")]
    [TestCase("2126", "03A9", Description = "singleton")]
    [TestCase("1E69", "1E69", Description = "two marks")]
    [TestCase("0073 0307 0323", "1E69", Description = "marks in the other order")]
    [TestCase("1E0B 0323", "1E0D 0307", Description = "recomposes with the other mark")]
    [TestCase("0071 0307 0323", "0071 0323 0307", Description = "only reorders")]
    [TestCase("0061 0315 0300 05AE 0062", "00E0 05AE 0315 0062", Description = "a mark between of another class does not block")]
    [TestCase("0061 05AE 0300 0062", "00E0 05AE 0062", Description = "a lower class does not block")]
    [TestCase("0061 0301 0300 0062", "00E1 0300 0062", Description = "the same class blocks")]
    [TestCase("0958", "0915 093C", Description = "composition exclusion")]
    [TestCase("0344", "0308 0301", Description = "decomposition without a starter")]
    [TestCase("1100 1161 11A8", "AC01", Description = "Hangul")]
    [TestCase("AC00 11A8", "AC01", Description = "Hangul with a trailing consonant")]
    [TestCase("AC01 11A8", "AC01 11A8", Description = "Hangul that is complete")]
    [TestCase("1100 1161 11A7", "AC00 11A7", Description = "one before the trailing consonants")]
    [TestCase("1112 1175 11C2", "D7A3", Description = "the last Hangul syllable")]
    [TestCase("0B47 0B3E", "0B4B", Description = "two starters")]
    [TestCase("11131 11127", "1112E", Description = "outside the basic plane")]
    [TestCase("1D15E", "1D157 1D165", Description = "excluded, outside the basic plane")]
    [TestCase("F900", "8C48", Description = "compatibility ideograph")]
    [TestCase("FB01", "FB01", Description = "compatibility characters stay")]
    [TestCase("1F82", "1F82", Description = "three levels of composition")]
    [TestCase("03B1 0313 0300 0345", "1F82", Description = "three levels of composition")]
    [TestCase("0300 0061", "0300 0061", Description = "a mark with nothing before it")]
    [TestCase("", "")]
    public void CodePoints_Text_AreInFormC(string text, string expected)
    {
        string input = string.Concat(Points(text).Select(char.ConvertFromUtf32));
        Assert.That(UnicodeNormalization.CodePoints(input), Is.EqualTo(Points(expected)));
    }

    [Test]
    public void CodePoints_UnpairedSurrogates_BecomeReplacementCharacters()
        => Assert.That(UnicodeNormalization.CodePoints("a\uD800\uDC00\uDC00\uD800"), Is.EqualTo(new[] { 'a', 0x10000, Rune.ReplacementChar.Value, Rune.ReplacementChar.Value }));

    private static List<int> Points(string text)
        => [.. text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(hex => Convert.ToInt32(hex, 16))];
}
