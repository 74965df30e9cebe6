using System.Text;

namespace StableDiffusion.Tokenizers;

/// <summary>
/// The tokenizer of CLIP's text encoders: text to token ids, by byte-pair encoding. Gives the ids of transformers' CLIPTokenizer
/// for any text (normalization form C, white space collapsed, lower case). Immutable and thread-safe.
/// </summary>
/// <remarks>Source: OpenAI CLIP, simple_tokenizer.py, and transformers, models/clip/tokenization_clip.py.</remarks>
public sealed class ClipTokenizer
{
    private const string EndOfWord = "</w>";

    private readonly ClipTokenizerFiles files;
    private readonly BytePairEncoder encoder;
    private readonly string[] specials;
    private readonly Dictionary<string, int> specialIds;
    private readonly Dictionary<int, string> symbols;

    private ClipTokenizer(ClipTokenizerFiles files)
    {
        int Id(string token, string role) => files.Vocabulary.TryGetValue(token, out int id)
            ? id
            : throw new InvalidTokenizerException($"The vocabulary in '{files.Location}' lacks the {role} token '{token}'.");

        this.files = files;
        StartId = Id(files.StartToken, "start");
        EndId = Id(files.EndToken, "end");
        PadId = Id(files.PadToken, "padding");
        MaxLength = files.MaxLength >= 2
            ? files.MaxLength
            : throw new InvalidTokenizerException($"The tokenizer in '{files.Location}' has a model_max_length of {files.MaxLength}, too few for a start and an end token.");
        VocabularySize = files.Vocabulary.Values.Max() + 1;
        specials = [files.StartToken, files.EndToken];
        specialIds = new Dictionary<string, int>(StringComparer.Ordinal) { [files.StartToken] = StartId, [files.EndToken] = EndId };
        encoder = new BytePairEncoder(files.Vocabulary, files.Merges, Id(files.UnknownToken, "unknown"));
        symbols = new Dictionary<int, string>(files.Vocabulary.Count);
        foreach ((string symbol, int id) in files.Vocabulary)
        {
            symbols[id] = symbol;
        }
    }

    /// <summary>The id that every sequence begins with (49406 in CLIP's vocabulary).</summary>
    public int StartId { get; }

    /// <summary>The id that ends the prompt (49407 in CLIP's vocabulary).</summary>
    public int EndId { get; }

    /// <summary>The id that fills up: the end token's in SD 1.x, 0 in SD 2.x and SDXL's second encoder.</summary>
    public int PadId { get; }

    /// <summary>Ids of a padded prompt, start and end included: <c>model_max_length</c>, 77 in all CLIP encoders.</summary>
    public int MaxLength { get; }

    /// <summary>One more than the largest id: rows that the token embedding must have.</summary>
    public int VocabularySize { get; }

    /// <summary>
    /// Reads a tokenizer folder of the diffusers layout: <c>vocab.json</c> and <c>merges.txt</c>, and where present
    /// <c>tokenizer_config.json</c> and <c>special_tokens_map.json</c> (which wins).
    /// </summary>
    /// <exception cref="InvalidTokenizerException">A file is missing or malformed; the message names it.</exception>
    public static ClipTokenizer Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        return new ClipTokenizer(ClipTokenizerFiles.Read(folder));
    }

    /// <summary>Makes a tokenizer from the texts of its files, see <see cref="ClipTokenizerFiles.Read(string, Func{string, string?})"/>.</summary>
    internal static ClipTokenizer Load(string location, Func<string, string?> read) => new(ClipTokenizerFiles.Read(location, read));

    /// <summary>The tokenizer of SD 1.x, 2.x and SDXL, from the vocabulary inside this assembly: for checkpoints without one.</summary>
    /// <param name="padToken">What pads: "&lt;|endoftext|&gt;" (SD 1.x, SDXL's first encoder) or "!" (SD 2.x, SDXL's second).</param>
    public static ClipTokenizer Clip(string padToken = ClipTokenizerFiles.ClipEndToken) => new(ClipTokenizerFiles.ReadEmbedded(padToken));

    /// <summary>Whether it gives the same ids for every text.</summary>
    internal bool IsSameAs(ClipTokenizer other) => PadId == other.PadId && MaxLength == other.MaxLength && StartId == other.StartId && EndId == other.EndId
        && files.UnknownToken == other.files.UnknownToken && files.Merges.SequenceEqual(other.files.Merges)
        && files.Vocabulary.Count == other.files.Vocabulary.Count && files.Vocabulary.All(entry => other.files.Vocabulary.TryGetValue(entry.Key, out int id) && id == entry.Value);

    /// <summary>All ids of a text, with start and end token, however many there are.</summary>
    public int[] Encode(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<int> ids = [StartId];
        foreach (string word in ClipWords.Split(text, specials))
        {
            if (specialIds.TryGetValue(word, out int special))
            {
                ids.Add(special);
            }
            else
            {
                encoder.Encode(word, ids);
            }
        }

        ids.Add(EndId);
        return [.. ids];
    }

    /// <summary>
    /// The ids of a text, cut and padded to <see cref="MaxLength"/>: of a longer prompt the first <c>MaxLength - 2</c> tokens stay.
    /// The result says what was dropped.
    /// </summary>
    public PaddedPrompt EncodePadded(string text)
    {
        int[] all = Encode(text);
        int tokens = all.Length - 2;
        int kept = Math.Min(tokens, MaxLength - 2);
        int[] ids = new int[MaxLength];
        all.AsSpan(0, kept + 1).CopyTo(ids);
        ids[kept + 1] = EndId;
        ids.AsSpan(kept + 2).Fill(PadId);
        return new PaddedPrompt([.. ids], tokens, tokens - kept, Decode(all.AsSpan(kept + 1, tokens - kept)));
    }

    /// <summary>
    /// The text of ids, as far as it can be told: lower-cased, words separated by one blank. Special tokens appear as they are
    /// written; ids outside the vocabulary and broken UTF-8 become U+FFFD.
    /// </summary>
    public string Decode(ReadOnlySpan<int> ids)
    {
        List<byte> bytes = [];
        foreach (int id in ids)
        {
            string symbol = symbols.GetValueOrDefault(id, "\uFFFD");
            if (specialIds.ContainsKey(symbol))
            {
                bytes.AddRange(Encoding.UTF8.GetBytes(symbol + " "));
                continue;
            }

            bool endsWord = symbol.EndsWith(EndOfWord, StringComparison.Ordinal);
            foreach (char letter in endsWord ? symbol[..^EndOfWord.Length] : symbol)
            {
                if (ByteAlphabet.Bytes.TryGetValue(letter, out byte b))
                {
                    bytes.Add(b);
                }
                else
                {
                    bytes.AddRange("\uFFFD"u8);
                }
            }

            if (endsWord)
            {
                bytes.Add((byte)' ');
            }
        }

        return Encoding.UTF8.GetString([.. bytes]).TrimEnd(' ');
    }
}
