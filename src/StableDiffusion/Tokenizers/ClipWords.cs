using System.Globalization;
using System.Text;

namespace StableDiffusion.Tokenizers;

/// <summary>
/// Cleans a prompt and cuts it into the words that CLIP's byte-pair encoding works on, as the CLIPTokenizer of transformers does:
/// normalization form C, lower case per code point, then the pattern
/// <c>&lt;|startoftext|&gt; | &lt;|endoftext|&gt; | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+</c>
/// on whole code points and without regard to case.
/// </summary>
internal static class ClipWords
{
    // In the order in which the pattern tries them. After lower-casing, 's' is the only letter in them with another form left: the
    // long s, which the pattern takes for an s.
    private static readonly string[] Suffixes = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

    private enum Kind
    {
        Separator,
        Letter,
        Number,
        Symbol,
    }

    /// <summary>The words of a prompt, lower-cased, in order.</summary>
    /// <param name="text">The prompt.</param>
    /// <param name="specials">Texts that are words of their own: the start and end token.</param>
    public static IEnumerable<string> Split(string text, IReadOnlyList<string> specials)
    {
        List<Rune> runes = LowerCase(UnicodeNormalization.CodePoints(text));
        int at = 0;
        while (at < runes.Count)
        {
            int length = WordLength(runes, at, specials);
            if (length == 0)
            {
                at++;
                continue;
            }

            StringBuilder word = new(length);
            foreach (Rune rune in runes.GetRange(at, length))
            {
                word.Append(rune.ToString());
            }

            yield return word.ToString();
            at += length;
        }
    }

    // Python's str.lower of each code point. Only one has a lower-case form of two, and .NET leaves that one alone.
    private static List<Rune> LowerCase(List<int> points)
    {
        const int CapitalIWithDotAbove = 0x130;
        List<Rune> lower = new(points.Count);
        foreach (int point in points)
        {
            if (point == CapitalIWithDotAbove)
            {
                lower.Add(new Rune('i'));
                lower.Add(new Rune(0x307));
            }
            else
            {
                lower.Add(Rune.ToLowerInvariant(new Rune(point)));
            }
        }

        return lower;
    }

    private static int WordLength(List<Rune> runes, int at, IReadOnlyList<string> specials)
    {
        foreach (string special in specials)
        {
            if (IsAt(runes, at, special))
            {
                return special.Length;
            }
        }

        foreach (string suffix in Suffixes)
        {
            if (IsAt(runes, at, suffix))
            {
                return suffix.Length;
            }
        }

        Kind kind = KindOf(runes[at]);
        if (kind is Kind.Separator or Kind.Number)
        {
            return kind == Kind.Number ? 1 : 0;
        }

        int end = at + 1;
        while (end < runes.Count && KindOf(runes[end]) == kind)
        {
            end++;
        }

        return end - at;
    }

    private static bool IsAt(List<Rune> runes, int at, string ascii)
    {
        const int LongS = 0x17F;
        if (at + ascii.Length > runes.Count)
        {
            return false;
        }

        for (int i = 0; i < ascii.Length; i++)
        {
            int point = runes[at + i].Value;
            if (point != ascii[i] && !(point == LongS && ascii[i] == 's'))
            {
                return false;
            }
        }

        return true;
    }

    private static Kind KindOf(Rune rune)
    {
        // The one mark whose upper case is a letter (capital iota): without regard to case the pattern's last alternative excludes
        // it, while its first takes no marks. So it matches nothing and only separates.
        const int CombiningIotaSubscript = 0x345;
        if (rune.Value == CombiningIotaSubscript || Rune.IsWhiteSpace(rune))
        {
            return Kind.Separator;
        }

        return Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Kind.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Kind.Number,
            _ => Kind.Symbol,
        };
    }
}
