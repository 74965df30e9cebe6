namespace StableDiffusion.Tokenizers;

/// <summary>
/// The printable letter that stands for each byte in the vocabulary: printable Latin-1 characters for themselves, the others for
/// U+0100 and up in the order of their bytes (OpenAI CLIP, simple_tokenizer.py, bytes_to_unicode).
/// </summary>
internal static class ByteAlphabet
{
    /// <summary>Letter by byte.</summary>
    public static IReadOnlyList<char> Letters { get; } = MakeLetters();

    /// <summary>Byte by letter.</summary>
    public static IReadOnlyDictionary<char, byte> Bytes { get; } = Letters.Select((letter, b) => (letter, b)).ToDictionary(p => p.letter, p => (byte)p.b);

    /// <summary>The bytes in the order of the CLIP vocabulary: the printable ones first.</summary>
    public static IEnumerable<int> VocabularyOrder => Enumerable.Range(0, 256).OrderBy(b => IsPrintable(b) ? 0 : 1);

    private static bool IsPrintable(int b) => b is (>= 0x21 and <= 0x7E) or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);

    private static char[] MakeLetters()
    {
        char[] letters = new char[256];
        char spare = (char)0x100;
        for (int b = 0; b < letters.Length; b++)
        {
            letters[b] = IsPrintable(b) ? (char)b : spare++;
        }

        return letters;
    }
}
