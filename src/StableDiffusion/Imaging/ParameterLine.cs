using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace StableDiffusion.Imaging;

/// <summary>
/// The last line of the "parameters" form: "Key: value, Key: value". A value with a comma, colon or line break in it is written as a
/// JSON string, as web UIs do.
/// </summary>
internal static class ParameterLine
{
    /// <summary>Fewer settings than this do not make a line of settings: it may be part of a prompt.</summary>
    public const int FewestSettings = 3;

    /// <summary>Writes a line.</summary>
    public static string Format(IReadOnlyList<KeyValuePair<string, string>> settings)
        => string.Join(", ", settings.Select(setting => $"{setting.Key}: {Quote(setting.Value)}"));

    /// <summary>Reads a line. Parts that are not "Key: value" are passed over.</summary>
    public static List<KeyValuePair<string, string>> Parse(string line)
    {
        List<KeyValuePair<string, string>> settings = [];
        int at = 0;
        while (at < line.Length)
        {
            int colon = line.IndexOf(':', at);
            int comma = line.IndexOf(',', at);
            if (colon < 0)
            {
                break;
            }

            if (comma >= 0 && comma < colon)
            {
                at = comma + 1;
                continue;
            }

            string key = line[at..colon].Trim();
            int end = EndOfValue(line, colon + 1);
            if (IsKey(key))
            {
                settings.Add(new KeyValuePair<string, string>(key, Unquote(line[(colon + 1)..end].Trim())));
            }

            at = end + 1;
        }

        return settings;
    }

    private static bool IsKey(string text)
        => text.Length >= 2 && (char.IsLetterOrDigit(text[0]) || text[0] == '_') && text.All(c => char.IsLetterOrDigit(c) || c is '_' or ' ' or '-' or '/');

    // Where the value that begins here ends: at the comma after a JSON string, or else at the next comma.
    private static int EndOfValue(string line, int begin)
    {
        int at = begin;
        while (at < line.Length && char.IsWhiteSpace(line[at]))
        {
            at++;
        }

        if (at < line.Length && line[at] == '"')
        {
            int after = at + 1;
            while (after < line.Length && line[after] != '"')
            {
                after += line[after] == '\\' ? 2 : 1;
            }

            after++;
            while (after < line.Length && char.IsWhiteSpace(line[after]))
            {
                after++;
            }

            if (after == line.Length || (after < line.Length && line[after] == ','))
            {
                return after;
            }
        }

        int comma = line.IndexOf(',', begin);
        return comma < 0 ? line.Length : comma;
    }

    private static string Quote(string value)
    {
        bool plain = value.Length > 0 && value == value.Trim() && value[0] != '"' && value.AsSpan().IndexOfAny(",:\n\r\0") < 0;
        return plain ? value : $"\"{JsonEncodedText.Encode(WithoutHalfPairs(value), JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
    }

    // JSON cannot hold half a surrogate pair.
    private static string WithoutHalfPairs(string text) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));

    private static string Unquote(string value)
    {
        if (value.Length < 2 || value[0] != '"' || value[^1] != '"')
        {
            return value;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(value);
            return document.RootElement.GetString()!;
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException)
        {
            return value; // Quotes, but not a JSON string.
        }
    }
}
