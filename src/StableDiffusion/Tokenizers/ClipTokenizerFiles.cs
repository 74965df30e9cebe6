using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace StableDiffusion.Tokenizers;

/// <summary>
/// What the files of a tokenizer folder say: vocabulary, merges, special tokens and length. <c>special_tokens_map.json</c> wins
/// over <c>tokenizer_config.json</c>, as in transformers; both may be missing.
/// </summary>
internal sealed record ClipTokenizerFiles(
    string Location,
    IReadOnlyDictionary<string, int> Vocabulary,
    IReadOnlyList<(string Left, string Right)> Merges,
    string StartToken,
    string EndToken,
    string PadToken,
    string UnknownToken,
    int MaxLength)
{
    public const string ClipStartToken = "<|startoftext|>";
    public const string ClipEndToken = "<|endoftext|>";
    public const int ClipMaxLength = 77;

    private const string EmbeddedMerges = "StableDiffusion.Tokenizers.merges.txt";
    private const int LargestFile = 64 << 20;

    /// <summary>Reads a folder of the diffusers layout.</summary>
    /// <exception cref="InvalidTokenizerException">A file is missing or malformed.</exception>
    public static ClipTokenizerFiles Read(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new InvalidTokenizerException($"The tokenizer folder '{folder}' does not exist.");
        }

        return Read(folder, file =>
        {
            string path = Path.Combine(folder, file);
            return File.Exists(path) ? ReadText(path) : null;
        });
    }

    /// <summary>Reads the files of a tokenizer wherever they are.</summary>
    /// <param name="location">Where that is, for messages.</param>
    /// <param name="read">Gives the text of a file; null where there is none.</param>
    /// <exception cref="InvalidTokenizerException">A file is missing or malformed.</exception>
    public static ClipTokenizerFiles Read(string location, Func<string, string?> read)
    {
        (string Path, string? Text) Optional(string name) => (Path.Combine(location, name), read(name));
        (string Path, string Text) Needed(string name) => (Path.Combine(location, name),
            read(name) ?? throw new InvalidTokenizerException($"The tokenizer file '{Path.Combine(location, name)}' does not exist."));
        Dictionary<string, int> vocabulary = ReadVocabulary(Needed("vocab.json"));
        (string mergesPath, string mergesText) = Needed("merges.txt");
        List<(string Left, string Right)> merges = ParseMerges(mergesPath, mergesText);
        using JsonDocument config = ReadOptionalObject(Optional("tokenizer_config.json"));
        using JsonDocument map = ReadOptionalObject(Optional("special_tokens_map.json"));
        string Token(string key, string otherwise) => Content(map, key) ?? Content(config, key) ?? otherwise;
        string end = Token("eos_token", ClipEndToken);
        return new ClipTokenizerFiles(location, vocabulary, merges, Token("bos_token", ClipStartToken), end, Token("pad_token", end), Token("unk_token", end), MaxLengthOf(config));
    }

    /// <summary>
    /// The vocabulary of CLIP ViT-L/14, embedded as its list of merges: the ids are the 256 bytes, the 256 bytes that end a word, the
    /// merges in their order, and the start and end token.
    /// </summary>
    public static ClipTokenizerFiles ReadEmbedded(string padToken)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(EmbeddedMerges)!;
        using StreamReader reader = new(stream, Encoding.UTF8);
        List<(string Left, string Right)> merges = ParseMerges(EmbeddedMerges, reader.ReadToEnd());
        Dictionary<string, int> vocabulary = new(514 + merges.Count, StringComparer.Ordinal);
        foreach (int b in ByteAlphabet.VocabularyOrder)
        {
            vocabulary.Add(ByteAlphabet.Letters[b].ToString(), vocabulary.Count);
        }

        foreach (int b in ByteAlphabet.VocabularyOrder)
        {
            vocabulary.Add(ByteAlphabet.Letters[b] + "</w>", vocabulary.Count);
        }

        foreach ((string left, string right) in merges)
        {
            vocabulary.Add(left + right, vocabulary.Count);
        }

        vocabulary.Add(ClipStartToken, vocabulary.Count);
        vocabulary.Add(ClipEndToken, vocabulary.Count);
        return new ClipTokenizerFiles("the built-in CLIP vocabulary", vocabulary, merges, ClipStartToken, ClipEndToken, padToken, ClipEndToken, ClipMaxLength);
    }

    /// <summary>The files of a tokenizer folder with the built-in vocabulary, as transformers writes them.</summary>
    /// <param name="padToken">What pads.</param>
    public static IEnumerable<(string Name, string? Text)> EmbeddedAsFolder(string padToken)
    {
        ClipTokenizerFiles files = ReadEmbedded(padToken);
        JsonSerializerOptions options = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        JsonObject Tokens() => new()
        {
            ["bos_token"] = files.StartToken,
            ["eos_token"] = files.EndToken,
            ["pad_token"] = files.PadToken,
            ["unk_token"] = files.UnknownToken,
        };
        JsonObject config = Tokens();
        config["do_lower_case"] = true;
        config["model_max_length"] = files.MaxLength;
        config["tokenizer_class"] = "CLIPTokenizer";
        yield return ("vocab.json", JsonSerializer.Serialize(files.Vocabulary, options));
        yield return ("merges.txt", "#version: 0.2\n" + string.Concat(files.Merges.Select(merge => $"{merge.Left} {merge.Right}\n")));
        yield return ("tokenizer_config.json", config.ToJsonString(options));
        yield return ("special_tokens_map.json", Tokens().ToJsonString(options));
    }

    private static Dictionary<string, int> ReadVocabulary((string Path, string Text) file)
    {
        string path = file.Path;
        using JsonDocument document = ReadObject(path, file.Text);
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        foreach (JsonProperty entry in document.RootElement.EnumerateObject())
        {
            if (entry.Value.ValueKind != JsonValueKind.Number || !entry.Value.TryGetInt32(out int id) || id < 0)
            {
                throw new InvalidTokenizerException($"'{path}' is not a vocabulary: the id of {Quote(entry.Name)} is not a whole number from 0.");
            }

            vocabulary[entry.Name] = id;
        }

        return vocabulary;
    }

    private static List<(string Left, string Right)> ParseMerges(string path, string text)
    {
        List<(string Left, string Right)> merges = [];
        int number = 0;
        foreach (ReadOnlySpan<char> untrimmed in text.AsSpan().EnumerateLines())
        {
            number++;
            ReadOnlySpan<char> line = untrimmed.Trim(' ');
            if (line.IsEmpty || (number == 1 && line.StartsWith("#version", StringComparison.Ordinal)))
            {
                continue;
            }

            int blank = line.IndexOf(' ');
            if (blank < 0 || line[(blank + 1)..].Contains(' '))
            {
                throw new InvalidTokenizerException($"'{path}' is not a list of merges: line {number.ToString(CultureInfo.InvariantCulture)} is not two symbols with a blank between them.");
            }

            merges.Add((line[..blank].ToString(), line[(blank + 1)..].ToString()));
        }

        return merges;
    }

    private static int MaxLengthOf(JsonDocument config)
    {
        // Some files give a huge number here that means "not known".
        const int Largest = 1 << 16;
        if (!config.RootElement.TryGetProperty("model_max_length", out JsonElement value) || value.ValueKind != JsonValueKind.Number
            || !value.TryGetInt32(out int length) || length > Largest)
        {
            return ClipMaxLength;
        }

        return length;
    }

    // A special token is given as text or as an object with its text under "content".
    private static string? Content(JsonDocument document, string key)
    {
        if (!document.RootElement.TryGetProperty(key, out JsonElement value))
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out JsonElement content))
        {
            value = content;
        }

        return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
    }

    private static JsonDocument ReadOptionalObject((string Path, string? Text) file) => ReadObject(file.Path, file.Text ?? "{}");

    private static JsonDocument ReadObject(string path, string text)
    {
        try
        {
            JsonDocument document = JsonDocument.Parse(text);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document
                : throw new InvalidTokenizerException($"'{path}' cannot be loaded: it is not a JSON object.");
        }
        catch (JsonException failure)
        {
            throw new InvalidTokenizerException($"'{path}' cannot be loaded: it is not valid JSON.", failure);
        }
    }

    private static string ReadText(string path)
    {
        try
        {
            FileInfo file = new(path);
            if (!file.Exists)
            {
                throw new InvalidTokenizerException($"The tokenizer file '{path}' does not exist.");
            }

            if (file.Length > LargestFile)
            {
                throw new InvalidTokenizerException($"'{path}' cannot be loaded: it has {file.Length} bytes, too many for a tokenizer file.");
            }

            return File.ReadAllText(path, Encoding.UTF8);
        }
        catch (Exception failure) when (failure is UnauthorizedAccessException or (IOException and not InvalidTokenizerException))
        {
            throw new InvalidTokenizerException($"'{path}' cannot be opened for reading.", failure);
        }
    }

    private static string Quote(string text) => $"'{text.Replace('\n', '?').Replace('\r', '?')}'";
}
