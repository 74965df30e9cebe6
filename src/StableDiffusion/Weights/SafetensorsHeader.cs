using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Unicode;

namespace StableDiffusion.Weights;

/// <summary>
/// The JSON header of a safetensors file, parsed and checked in full before any tensor is read. The checks are those of the format
/// description and its reference implementation (github.com/huggingface/safetensors): UTF-8 JSON that begins with '{', no
/// duplicate keys, and tensors that tile the data from its first to its last byte without holes or overlaps.
/// </summary>
internal sealed class SafetensorsHeader
{
    private readonly string path;
    private readonly Dictionary<string, Entry> tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> metadata = new(StringComparer.Ordinal);

    private SafetensorsHeader(string path) => this.path = path;

    /// <summary>Tensors by name; offsets count from the beginning of the data.</summary>
    public IReadOnlyDictionary<string, Entry> Tensors => tensors;

    /// <summary>The free text under "__metadata__"; empty if there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => metadata;

    /// <summary>Parses and checks a header.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="json">The header's bytes.</param>
    /// <param name="dataBytes">Bytes that follow the header in the file.</param>
    /// <exception cref="InvalidWeightsException">The header breaks a rule of the format.</exception>
    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json, long dataBytes)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
        {
            throw Bad(path, "its header does not begin with '{', so this is not a safetensors file");
        }

        if (!Utf8.IsValid(json))
        {
            throw Bad(path, "its header is not valid UTF-8");
        }

        SafetensorsHeader header = new(path);
        try
        {
            header.ParseObject(json);
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is what Utf8JsonReader throws for text with half a surrogate pair.
            throw new InvalidWeightsException($"'{path}' cannot be loaded: its header is not valid JSON ({FirstLine(failure.Message)}).", failure);
        }

        header.CheckTiling(dataBytes);
        return header;
    }

    private void ParseObject(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = 16 });
        reader.Read();
        bool metadataSeen = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (name == "__metadata__")
            {
                if (metadataSeen)
                {
                    throw Bad(path, "its header has '__metadata__' twice");
                }

                metadataSeen = true;
                ParseMetadata(ref reader);
            }
            else if (!tensors.TryAdd(name, ParseTensor(ref reader, name)))
            {
                throw Bad(path, $"the tensor {Quote(name)} is listed twice");
            }
        }

        reader.Read(); // Throws if anything but white space follows the closing '}'.
    }

    private void ParseMetadata(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw Bad(path, "its '__metadata__' is not a JSON object");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
            {
                throw Bad(path, $"the value of {Quote(key)} in its '__metadata__' is not text");
            }

            if (!metadata.TryAdd(key, reader.GetString()!))
            {
                throw Bad(path, $"its '__metadata__' has {Quote(key)} twice");
            }
        }
    }

    private Entry ParseTensor(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw Bad(path, $"the entry of the tensor {Quote(name)} is not a JSON object");
        }

        WeightDType? dtype = null;
        long[]? shape = null;
        long[]? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            switch (key)
            {
                case "dtype" when dtype is null:
                    dtype = ParseDType(ref reader, name);
                    break;
                case "shape" when shape is null:
                    shape = ParseNumbers(ref reader, name, "shape");
                    break;
                case "data_offsets" when offsets is null:
                    offsets = ParseNumbers(ref reader, name, "data_offsets");
                    break;
                case "dtype" or "shape" or "data_offsets":
                    throw Bad(path, $"the tensor {Quote(name)} has '{key}' twice");
                default:
                    reader.Skip();
                    break;
            }
        }

        if (dtype is null || shape is null || offsets is null)
        {
            string missing = dtype is null ? "dtype" : shape is null ? "shape" : "data_offsets";
            throw Bad(path, $"the tensor {Quote(name)} has no '{missing}'");
        }

        if (offsets.Length != 2 || offsets[0] > offsets[1])
        {
            throw Bad(path, $"the data_offsets of the tensor {Quote(name)} are {WeightInfo.FormatShape(offsets)} instead of a begin and an end");
        }

        WeightInfo info = new(dtype.Value, ImmutableArray.Create(shape));
        CheckByteCount(name, info, offsets[1] - offsets[0]);
        return new Entry(info, offsets[0], offsets[1]);
    }

    private WeightDType ParseDType(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            throw Bad(path, $"the dtype of the tensor {Quote(name)} is not text");
        }

        string text = reader.GetString()!;
        return WeightDTypes.TryParse(text, out WeightDType dtype)
            ? dtype
            : throw Bad(path, $"the tensor {Quote(name)} has the unknown dtype {Quote(text)}");
    }

    private long[] ParseNumbers(ref Utf8JsonReader reader, string name, string key)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw Bad(path, $"the {key} of the tensor {Quote(name)} is not a list");
        }

        List<long> numbers = new(4);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
            {
                throw Bad(path, $"the {key} of the tensor {Quote(name)} has an entry that is not a whole number from 0 to 2^63 - 1");
            }

            numbers.Add(number);
        }

        return [.. numbers];
    }

    private void CheckByteCount(string name, WeightInfo info, long bytes)
    {
        long expected;
        try
        {
            expected = info.ByteCount;
        }
        catch (OverflowException)
        {
            throw Bad(path, $"the shape {WeightInfo.FormatShape(info.Shape.AsSpan())} of the tensor {Quote(name)} overflows 64 bits");
        }

        if (expected != bytes)
        {
            throw Bad(path, $"the tensor {Quote(name)} has {bytes} bytes where {info} needs {expected}");
        }
    }

    private void CheckTiling(long dataBytes)
    {
        long end = 0;
        string before = "";
        foreach ((string name, Entry entry) in tensors.OrderBy(t => t.Value.Begin).ThenBy(t => t.Value.End))
        {
            if (entry.End > dataBytes)
            {
                throw Bad(path, $"the tensor {Quote(name)} ends at byte {entry.End} of the data but the file has only {dataBytes}, so it is truncated or damaged");
            }

            if (entry.Begin < end)
            {
                throw Bad(path, $"the tensors {Quote(before)} and {Quote(name)} overlap");
            }

            if (entry.Begin > end)
            {
                throw Bad(path, $"there is a hole of {entry.Begin - end} bytes before the tensor {Quote(name)}");
            }

            end = entry.End;
            before = name;
        }

        if (end != dataBytes)
        {
            throw Bad(path, $"{dataBytes - end} bytes at its end belong to no tensor");
        }
    }

    internal static InvalidWeightsException Bad(string path, string why) => new($"'{path}' cannot be loaded: {why}.");

    /// <summary>A name from a file, made safe for a one-line message.</summary>
    internal static string Quote(string name)
    {
        const int Longest = 160;
        string shown = name.Length <= Longest ? name : name[..Longest] + "...";
        return "'" + string.Concat(shown.Select(c => char.IsControl(c) ? '?' : c)) + "'";
    }

    private static string FirstLine(string text) => text.Split('\n', 2)[0].TrimEnd('\r', '.', ' ');

    /// <summary>One tensor and the range of its bytes.</summary>
    public readonly record struct Entry(WeightInfo Info, long Begin, long End);
}
