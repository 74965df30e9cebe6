using System.Text;

namespace StableDiffusion.Tokenizers;

/// <summary>
/// CLIP's byte-pair encoding of one word: its UTF-8 bytes are symbols, the last one marked as the end of the word, and the pair
/// that comes first in the list of merges is joined, everywhere from left to right, until no listed pair is left. Takes
/// O(n log n) for a word of n bytes. Immutable and thread-safe.
/// </summary>
internal sealed class BytePairEncoder
{
    private const string EndOfWord = "</w>";

    private readonly Dictionary<string, int> symbolOf = new(StringComparer.Ordinal);
    private readonly List<int> tokenOf = [];
    private readonly Dictionary<(int Left, int Right), (int Rank, int Joined)> merges;
    private readonly int[] byteSymbols = new int[256];
    private readonly int[] lastByteSymbols = new int[256];

    /// <summary>Builds the encoder.</summary>
    /// <param name="vocabulary">Token ids by symbol.</param>
    /// <param name="pairs">Pairs to join, the first one first.</param>
    /// <param name="unknown">The id of symbols that are not in the vocabulary.</param>
    public BytePairEncoder(IReadOnlyDictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> pairs, int unknown)
    {
        int Symbol(string text)
        {
            if (!symbolOf.TryGetValue(text, out int symbol))
            {
                symbol = tokenOf.Count;
                symbolOf.Add(text, symbol);
                tokenOf.Add(vocabulary.GetValueOrDefault(text, unknown));
            }

            return symbol;
        }

        for (int b = 0; b < 256; b++)
        {
            string letter = ByteAlphabet.Letters[b].ToString();
            byteSymbols[b] = Symbol(letter);
            lastByteSymbols[b] = Symbol(letter + EndOfWord);
        }

        merges = new Dictionary<(int Left, int Right), (int Rank, int Joined)>(pairs.Count);
        for (int rank = 0; rank < pairs.Count; rank++)
        {
            (string left, string right) = pairs[rank];
            merges[(Symbol(left), Symbol(right))] = (rank, Symbol(left + right));
        }
    }

    /// <summary>Appends the ids of a word's tokens.</summary>
    public void Encode(string word, List<int> ids)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(word);
        int[] symbols = new int[bytes.Length];
        for (int i = 0; i < bytes.Length; i++)
        {
            symbols[i] = (i == bytes.Length - 1 ? lastByteSymbols : byteSymbols)[bytes[i]];
        }

        Join(symbols);
        foreach (int symbol in symbols)
        {
            if (symbol >= 0)
            {
                ids.Add(tokenOf[symbol]);
            }
        }
    }

    // Joins in place; a symbol that went into its left neighbour becomes -1. The queue holds the places where a pair was seen, by
    // rank and then from left to right; a place whose pair has changed since is skipped.
    private void Join(int[] symbols)
    {
        int[] previous = new int[symbols.Length];
        int[] next = new int[symbols.Length];
        PriorityQueue<int, (int Rank, int At)> places = new();
        for (int i = 0; i < symbols.Length; i++)
        {
            previous[i] = i - 1;
            next[i] = i + 1;
        }

        void Enqueue(int at)
        {
            if (at >= 0 && next[at] < symbols.Length && merges.TryGetValue((symbols[at], symbols[next[at]]), out (int Rank, int Joined) merge))
            {
                places.Enqueue(at, (merge.Rank, at));
            }
        }

        for (int i = 0; i < symbols.Length; i++)
        {
            Enqueue(i);
        }

        List<int> changed = [];
        while (places.TryPeek(out _, out (int Rank, int At) best))
        {
            // All places of one rank before the pairs that joining them makes, as the definition has it.
            changed.Clear();
            while (places.TryPeek(out int at, out (int Rank, int At) place) && place.Rank == best.Rank)
            {
                places.Dequeue();
                int right = next[at];
                if (symbols[at] < 0 || right >= symbols.Length
                    || !merges.TryGetValue((symbols[at], symbols[right]), out (int Rank, int Joined) merge) || merge.Rank != best.Rank)
                {
                    continue;
                }

                symbols[at] = merge.Joined;
                symbols[right] = -1;
                next[at] = next[right];
                if (next[at] < symbols.Length)
                {
                    previous[next[at]] = at;
                }

                changed.Add(at);
            }

            foreach (int at in changed)
            {
                if (symbols[at] >= 0)
                {
                    Enqueue(previous[at]);
                    Enqueue(at);
                }
            }
        }
    }
}
