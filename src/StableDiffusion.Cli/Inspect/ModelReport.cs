using System.Text.Json.Nodes;

namespace StableDiffusion.Cli.Inspect;

/// <summary>A model folder in the diffusers layout: its family and its components.</summary>
internal sealed class ModelReport : IReport
{
    private readonly List<Component> _components = [];
    private readonly List<(string Name, string Value)> _facts = [];
    private readonly string _folder;

    internal ModelReport(string folder)
    {
        _folder = folder;
        JsonObject index = Component.ReadObject(Path.Combine(folder, "model_index.json"));
        foreach ((string name, JsonNode? entry) in index)
        {
            if (entry is JsonArray { Count: 2 } pair && pair[1] is { } className && Directory.Exists(Path.Combine(folder, name)))
            {
                _components.Add(Component.Read(Path.Combine(folder, name), className.ToString()));
            }
        }
        _facts.Add(("pipeline", Component.Text(index, "_class_name") ?? "not named"));
        AddFamily();
    }

    /// <inheritdoc />
    public void Write(Terminal terminal, bool all)
    {
        terminal.Out.WriteLine(_folder);
        int width = _facts.Max(f => f.Name.Length);
        foreach ((string name, string value) in _facts)
        {
            terminal.Out.WriteLine($"  {name.PadRight(width)}  {value}");
        }
        terminal.Out.WriteLine();
        var table = new TextTable("component", "class", "parameters>", "dtype", "size>", "file");
        foreach (Component part in _components)
        {
            table.Add(part.Name, part.ClassName, part.Weights is null ? "" : Units.Count(part.Weights.Parameters), part.Weights?.DTypes ?? "",
                part.Weights is null ? "" : Units.Bytes(part.Weights.Bytes), part.WeightsFile ?? "");
        }
        table.WriteTo(terminal);
        foreach (Component part in _components)
        {
            terminal.Out.WriteLine();
            terminal.Out.WriteLine($"{part.Name}: {part.Facts}");
            if (all)
            {
                part.Weights?.Write(terminal, all);
            }
        }
    }

    /// <inheritdoc />
    public JsonObject ToJson() => new()
    {
        ["kind"] = "model",
        ["path"] = _folder,
        ["facts"] = new JsonObject(_facts.Select(f => KeyValuePair.Create(f.Name, (JsonNode?)f.Value))),
        ["parameters"] = _components.Sum(c => c.Weights?.Parameters ?? 0),
        ["bytes"] = _components.Sum(c => c.Weights?.Bytes ?? 0),
        ["components"] = new JsonArray([.. _components.Select(c => c.ToJson())]),
    };

    private void AddFamily()
    {
        if (_components.Find(c => c.Name == "unet") is { } unet)
        {
            _facts.Add(("family", Family(unet.Config)));
            _facts.Add(("task", TaskOf(Component.Number(unet.Config, "in_channels"))));
        }
        if (NativeSize() is { } size)
        {
            _facts.Add(("size", $"{size}x{size} pixels"));
        }
        if (_components.Find(c => c.Name == "scheduler") is { } scheduler)
        {
            _facts.Add(("scheduler", scheduler.ClassName));
            _facts.Add(("prediction", Component.Text(scheduler.Config, "prediction_type") ?? "epsilon"));
        }
        _facts.Add(("parameters", Units.Count(_components.Sum(c => c.Weights?.Parameters ?? 0))));
        _facts.Add(("weights", Units.Bytes(_components.Sum(c => c.Weights?.Bytes ?? 0))));
    }

    /// <summary>What a UNet with so many channels in is for.</summary>
    internal static string TaskOf(int? channels) => channels switch
    {
        4 => "text to image",
        5 => "depth to image",
        7 => "upscaling",
        8 => "instructed editing",
        9 => "inpainting",
        _ => $"unknown ({channels} input channels)",
    };

    private static string Family(JsonObject unet) =>
        Component.Text(unet, "addition_embed_type") == "text_time" ? "Stable Diffusion XL"
        : Component.Number(unet, "cross_attention_dim") switch
        {
            768 => "Stable Diffusion 1.x",
            1024 => "Stable Diffusion 2.x",
            int dim => $"Stable Diffusion blocks with context width {dim}",
            null => "unknown",
        };

    // The latent size the UNet was trained at, times what the VAE's upsamplers make of it.
    private int? NativeSize() =>
        _components.Find(c => c.Name == "unet") is { } unet && _components.Find(c => c.Name == "vae") is { } vae
        && Component.Number(unet.Config, "sample_size") is int latent && vae.Config["block_out_channels"] is JsonArray { Count: > 0 } widths
            ? latent << (widths.Count - 1)
            : null;
}
