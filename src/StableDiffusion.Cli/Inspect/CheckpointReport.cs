using System.Text.Json.Nodes;
using StableDiffusion.Models.Unet;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Weights;

namespace StableDiffusion.Cli.Inspect;

/// <summary>A single-file model: its family, its components, and its tensors.</summary>
internal sealed class CheckpointReport : IReport
{
    private readonly List<(string Name, string Value)> _facts = [];
    private readonly List<Part> _parts = [];
    private readonly WeightsReport _weights;
    private readonly string _path;

    internal CheckpointReport(SingleFileModel model, WeightsReport weights)
    {
        (_path, _weights) = (model.Path, weights);
        UnetConfig unet = model.ReadUnetConfig();
        _facts.Add(("family", model.Family));
        _facts.Add(("task", ModelReport.TaskOf(unet.InChannels)));
        foreach (string component in (string[])["unet", "vae", .. model.TextEncoders])
        {
            if (model.Has(component))
            {
                using IWeightSource source = model.OpenWeights(component);
                _parts.Add(new Part(component, [.. source.Names!.Select(name => source.Find(name, [])!)]));
            }
        }
        int scale = model.Has("vae") ? model.ReadVaeConfig().ScaleFactor : 8;
        if (unet.SampleSize is { } size && model.Prediction is not null)
        {
            _facts.Add(("size", $"{size.Width * scale}x{size.Height * scale} pixels"));
        }
        _facts.Add(("prediction", model.Prediction switch
        {
            null => "not told by the file; the UNet is asked when it is loaded",
            PredictionType.VPrediction => "v_prediction",
            PredictionType.Sample => "sample",
            _ => "epsilon",
        }));
        string[] missing = [.. new[] { "unet", "vae" }.Concat(model.NeededTextEncoders).Where(component => !model.Has(component))];
        if (missing.Length > 0)
        {
            _facts.Add(("missing", string.Join(", ", missing)));
        }
        if (model.HasEma)
        {
            _facts.Add(("averaged", "the UNet's averaged weights (EMA) are there too"));
        }
    }

    /// <inheritdoc />
    public void Write(Terminal terminal, bool all)
    {
        terminal.Out.WriteLine(_path);
        int width = _facts.Max(fact => fact.Name.Length);
        foreach ((string name, string value) in _facts)
        {
            terminal.Out.WriteLine($"  {name.PadRight(width)}  {value}");
        }
        terminal.Out.WriteLine();
        var table = new TextTable("component", "tensors>", "parameters>", "dtype", "size>");
        foreach (Part part in _parts)
        {
            table.Add(part.Name, Units.Text($"{part.Tensors.Count}"), Units.Count(part.Parameters), part.DTypes, Units.Bytes(part.Bytes));
        }
        table.WriteTo(terminal);
        terminal.Out.WriteLine();
        _weights.Write(terminal, all);
    }

    /// <inheritdoc />
    public JsonObject ToJson()
    {
        JsonObject json = _weights.ToJson();
        json["kind"] = "checkpoint";
        json["facts"] = new JsonObject(_facts.Select(fact => KeyValuePair.Create(fact.Name, (JsonNode?)fact.Value)));
        json["components"] = new JsonArray([.. _parts.Select(part => new JsonObject
        {
            ["name"] = part.Name,
            ["tensors"] = part.Tensors.Count,
            ["parameters"] = part.Parameters,
            ["dtypes"] = part.DTypes,
            ["bytes"] = part.Bytes,
        })]);
        return json;
    }

    /// <summary>A component and what it holds.</summary>
    private sealed record Part(string Name, IReadOnlyList<WeightInfo> Tensors)
    {
        public long Parameters => Tensors.Sum(tensor => tensor.ElementCount);

        public long Bytes => Tensors.Sum(tensor => tensor.ByteCount);

        public string DTypes => string.Join(", ", Tensors.GroupBy(tensor => tensor.DType).OrderByDescending(group => group.Sum(tensor => tensor.ByteCount)).Select(group => group.Key.SafetensorsName()));
    }
}
