using System.Text.Json.Nodes;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Inspect;

/// <summary>The tensors of a file of weights, safetensors or PyTorch's own, or of an index with its shards.</summary>
internal sealed class WeightsReport : IReport
{
    // A file with no more tensors than this is listed whole.
    private const int ShortList = 40;

    private const int LongestMetadata = 500;

    private readonly List<(string Name, WeightInfo Info)> _tensors = [];
    private readonly IReadOnlyDictionary<string, string> _metadata;
    private readonly string _path;
    private readonly string? _note;

    /// <summary>Reads a file's list of tensors.</summary>
    /// <param name="path">The file.</param>
    /// <param name="note">What else is known of it.</param>
    internal WeightsReport(string path, string? note = null)
    {
        (_path, _note) = (path, note);
        using IWeightSource source = WeightFile.Open(path);
        foreach (string name in source.Names!)
        {
            _tensors.Add((name, source.Find(name, [])!));
        }
        _metadata = source switch
        {
            SafetensorsFile file => file.Metadata,
            TorchFile file => file.Metadata,
            _ => new Dictionary<string, string>(),
        };
    }

    /// <summary>Numbers in all tensors together, integers included.</summary>
    internal long Parameters => _tensors.Sum(t => t.Info.ElementCount);

    /// <summary>Bytes of all tensors together.</summary>
    internal long Bytes => _tensors.Sum(t => t.Info.ByteCount);

    /// <summary>The dtypes by how much they hold, as "F16" or "F32, I64".</summary>
    internal string DTypes => string.Join(", ", _tensors.GroupBy(t => t.Info.DType).OrderByDescending(g => g.Sum(t => t.Info.ByteCount)).Select(g => g.Key.SafetensorsName()));

    /// <inheritdoc />
    public void Write(Terminal terminal, bool all)
    {
        terminal.Out.WriteLine($"{_path}: {_tensors.Count} tensors, {Units.Count(Parameters)} parameters, {DTypes}, {Units.Bytes(Bytes)}");
        if (_note is not null)
        {
            terminal.Out.WriteLine(_note);
        }
        foreach ((string key, string value) in _metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
        {
            terminal.Out.WriteLine($"metadata {key}: {(value.Length <= LongestMetadata || all ? value : $"{value[..LongestMetadata]}... ({value.Length} characters)")}");
        }
        terminal.Out.WriteLine();
        if (all || _tensors.Count <= ShortList)
        {
            ListTensors().WriteTo(terminal);
            return;
        }
        ListParts().WriteTo(terminal);
        terminal.Out.WriteLine("--all lists every tensor.");
    }

    /// <inheritdoc />
    public JsonObject ToJson() => new()
    {
        ["kind"] = "weights",
        ["path"] = _path,
        ["note"] = _note,
        ["parameters"] = Parameters,
        ["bytes"] = Bytes,
        ["metadata"] = new JsonObject(_metadata.Select(m => KeyValuePair.Create(m.Key, (JsonNode?)m.Value))),
        ["tensors"] = new JsonArray([.. _tensors.Select(t => new JsonObject
        {
            ["name"] = t.Name,
            ["dtype"] = t.Info.DType.SafetensorsName(),
            ["shape"] = new JsonArray([.. t.Info.Shape.Select(side => (JsonNode?)side)]),
        })]),
    };

    private TextTable ListTensors()
    {
        var table = new TextTable("tensor", "dtype", "shape", "size>");
        foreach ((string name, WeightInfo info) in _tensors)
        {
            table.Add(name, info.DType.SafetensorsName(), $"[{string.Join(", ", info.Shape)}]", Units.Bytes(info.ByteCount));
        }
        return table;
    }

    private TextTable ListParts()
    {
        var table = new TextTable("part", "tensors>", "parameters>", "size>");
        foreach (var part in _tensors.GroupBy(t => PartOf(t.Name)))
        {
            table.Add(part.Key, Units.Text($"{part.Count()}"), Units.Count(part.Sum(t => t.Info.ElementCount)), Units.Bytes(part.Sum(t => t.Info.ByteCount)));
        }
        return table;
    }

    // "down_blocks.0.resnets.1.conv1.weight" belongs to "down_blocks.0", "conv_in.weight" to "conv_in".
    private static string PartOf(string name)
    {
        string[] path = name.Split('.');
        return path.Length == 1 ? name : string.Join(".", path[..Math.Min(2, path.Length - 1)]);
    }
}
