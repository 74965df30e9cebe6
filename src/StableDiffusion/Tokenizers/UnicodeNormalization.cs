using System.Globalization;
using System.Reflection;
using System.Text;

namespace StableDiffusion.Tokenizers;

/// <summary>
/// Unicode normalization form C (Unicode Standard Annex 15), independent of the machine: <see cref="string.Normalize()"/> does
/// nothing where globalization is invariant, and follows the installed ICU elsewhere.
/// </summary>
internal static class UnicodeNormalization
{
    private const int FirstThatMayChange = 0x300; // Below it everything is normalized and no starter composes with a later one.
    private const string Resource = "StableDiffusion.Tokenizers.normalization.txt";

    private static readonly Lazy<Tables> Data = new(Tables.Load);

    /// <summary>The code points of a text in form C. Unpaired surrogates become U+FFFD.</summary>
    public static List<int> CodePoints(string text)
    {
        List<int> points = new(text.Length);
        bool mayChange = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            points.Add(rune.Value);
            mayChange |= rune.Value >= FirstThatMayChange;
        }

        return mayChange ? Compose(Decompose(points)) : points;
    }

    private static List<int> Decompose(List<int> points)
    {
        List<int> result = new(points.Count);
        foreach (int point in points)
        {
            Append(point, result);
        }

        SortMarks(result);
        return result;
    }

    private static void Append(int point, List<int> result)
    {
        if (Hangul.IsSyllable(point))
        {
            Hangul.Decompose(point, result);
        }
        else if (Data.Value.Decompositions.TryGetValue(point, out (int First, int Second) parts))
        {
            Append(parts.First, result);
            if (parts.Second != 0)
            {
                Append(parts.Second, result);
            }
        }
        else
        {
            result.Add(point);
        }
    }

    // Every run of marks (class other than 0) in the order of their classes, equal ones as they stood.
    private static void SortMarks(List<int> points)
    {
        for (int begin = 0; begin < points.Count; begin++)
        {
            if (Data.Value.Class(points[begin]) == 0)
            {
                continue;
            }

            int end = begin + 1;
            while (end < points.Count && Data.Value.Class(points[end]) != 0)
            {
                end++;
            }

            if (end - begin > 1)
            {
                int[] sorted = [.. points.GetRange(begin, end - begin).OrderBy(Data.Value.Class)];
                for (int i = 0; i < sorted.Length; i++)
                {
                    points[begin + i] = sorted[i];
                }
            }

            begin = end;
        }
    }

    private static List<int> Compose(List<int> points)
    {
        List<int> result = new(points.Count);
        int starter = -1; // Index in the result of the last code point of class 0.
        int lastClass = 0;
        foreach (int point in points)
        {
            int pointClass = Data.Value.Class(point);
            bool adjacent = starter == result.Count - 1;
            bool blocked = starter < 0 || (!adjacent && lastClass >= pointClass);
            if (!blocked && TryComposePair(result[starter], point, out int composed))
            {
                result[starter] = composed;
                continue;
            }

            if (pointClass == 0)
            {
                starter = result.Count;
            }

            lastClass = pointClass;
            result.Add(point);
        }

        return result;
    }

    private static bool TryComposePair(int first, int second, out int composed)
        => Hangul.TryCompose(first, second, out composed) || Data.Value.Compositions.TryGetValue((first, second), out composed);

    /// <summary>Hangul syllables, which are computed (The Unicode Standard, section 3.12).</summary>
    private static class Hangul
    {
        private const int SyllableBase = 0xAC00;
        private const int LeadBase = 0x1100;
        private const int VowelBase = 0x1161;
        private const int TrailBase = 0x11A7; // One before the first trailing consonant.
        private const int LeadCount = 19;
        private const int VowelCount = 21;
        private const int TrailCount = 28;
        private const int SyllableCount = LeadCount * VowelCount * TrailCount;

        public static bool IsSyllable(int point) => point is >= SyllableBase and < SyllableBase + SyllableCount;

        public static void Decompose(int syllable, List<int> result)
        {
            int index = syllable - SyllableBase;
            result.Add(LeadBase + (index / (VowelCount * TrailCount)));
            result.Add(VowelBase + (index / TrailCount % VowelCount));
            if (index % TrailCount != 0)
            {
                result.Add(TrailBase + (index % TrailCount));
            }
        }

        public static bool TryCompose(int first, int second, out int composed)
        {
            int lead = first - LeadBase;
            int vowel = second - VowelBase;
            int trail = second - TrailBase;
            if (lead is >= 0 and < LeadCount && vowel is >= 0 and < VowelCount)
            {
                composed = SyllableBase + (((lead * VowelCount) + vowel) * TrailCount);
                return true;
            }

            if (IsSyllable(first) && (first - SyllableBase) % TrailCount == 0 && trail is > 0 and < TrailCount)
            {
                composed = first + trail;
                return true;
            }

            composed = 0;
            return false;
        }
    }

    private sealed class Tables
    {
        private readonly Dictionary<int, int> classes = [];

        public Dictionary<int, (int First, int Second)> Decompositions { get; } = [];

        public Dictionary<(int First, int Second), int> Compositions { get; } = [];

        public int Class(int point) => point < FirstThatMayChange ? 0 : classes.GetValueOrDefault(point);

        public static Tables Load()
        {
            Tables tables = new();
            using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Resource)!;
            using StreamReader reader = new(stream, Encoding.ASCII);
            while (reader.ReadLine() is { } line)
            {
                string[] fields = line.Split(' ');
                switch (fields[0])
                {
                    case "K":
                        for (int point = Hex(fields[1]); point <= Hex(fields[2]); point++)
                        {
                            tables.classes[point] = int.Parse(fields[3], CultureInfo.InvariantCulture);
                        }

                        break;
                    case "C":
                        tables.Decompositions[Hex(fields[1])] = (Hex(fields[2]), Hex(fields[3]));
                        tables.Compositions[(Hex(fields[2]), Hex(fields[3]))] = Hex(fields[1]);
                        break;
                    case "D":
                        tables.Decompositions[Hex(fields[1])] = (Hex(fields[2]), fields.Length > 3 ? Hex(fields[3]) : 0);
                        break;
                }
            }

            return tables;
        }

        private static int Hex(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
    }
}
