using System.Buffers.Binary;
using System.Text.Json.Nodes;
using StableDiffusion.Imaging;

namespace StableDiffusion.Cli.Inspect;

/// <summary>A PNG: its size, and how it was made where it says so.</summary>
internal sealed class PngReport : IReport
{
    // Signature, length and type of the first chunk, then width and height (PNG specification, 11.2.2 IHDR).
    private const int SizeOffset = 16;

    private readonly string _path;
    private readonly int _width, _height;
    private readonly IReadOnlyList<KeyValuePair<string, string>> _texts;
    private readonly GenerationParameters? _parameters;

    internal PngReport(string path)
    {
        _path = path;
        _texts = PngText.Load(path);
        _parameters = GenerationParameters.From(_texts);
        Span<byte> head = stackalloc byte[SizeOffset + 8];
        using FileStream stream = File.OpenRead(path);
        stream.ReadExactly(head);
        (_width, _height) = (BinaryPrimitives.ReadInt32BigEndian(head[SizeOffset..]), BinaryPrimitives.ReadInt32BigEndian(head[(SizeOffset + 4)..]));
    }

    /// <inheritdoc />
    public void Write(Terminal terminal, bool all)
    {
        terminal.Out.WriteLine($"{_path}: PNG, {_width}x{_height}");
        if (_parameters is null)
        {
            terminal.Out.WriteLine($"It does not say how it was made: it has no text '{GenerationParameters.PngKey}'.");
        }
        else
        {
            List<(string Name, string Value)> settings = Settings(_parameters);
            int width = settings.Max(s => s.Name.Length);
            settings.ForEach(s => terminal.Out.WriteLine($"  {s.Name.PadRight(width)}  {s.Value}"));
        }
        foreach ((string key, string text) in _texts.Where(t => all || t.Key != GenerationParameters.PngKey))
        {
            terminal.Out.WriteLine($"text {key}: {text}");
        }
    }

    /// <inheritdoc />
    public JsonObject ToJson() => new()
    {
        ["kind"] = "png",
        ["path"] = _path,
        ["width"] = _width,
        ["height"] = _height,
        ["parameters"] = _parameters is null ? null : ToJson(_parameters),
        ["texts"] = new JsonArray([.. _texts.Select(t => new JsonObject { ["key"] = t.Key, ["text"] = t.Value })]),
    };

    private static List<(string Name, string Value)> Settings(GenerationParameters parameters)
    {
        (string, string?)[] known =
        [
            ("prompt", parameters.Prompt),
            ("negative prompt", parameters.NegativePrompt.Length > 0 ? parameters.NegativePrompt : null),
            ("seed", parameters.Seed is { } seed ? Units.Text($"{seed}") : null),
            ("steps", parameters.Steps is { } steps ? Units.Text($"{steps}") : null),
            ("guidance scale", parameters.CfgScale is { } scale ? Units.Text($"{scale}") : null),
            ("scheduler", parameters.Sampler),
            ("schedule type", parameters.ScheduleType),
            ("size", parameters.Width is null ? null : $"{parameters.Width}x{parameters.Height}"),
            ("model", parameters.Model),
            .. parameters.Other.Select(o => (o.Key.ToLowerInvariant(), (string?)o.Value)),
            ("made by", parameters.Version),
        ];
        return [.. known.Where(s => s.Item2 is not null).Select(s => (s.Item1, s.Item2!))];
    }

    private static JsonObject ToJson(GenerationParameters parameters) => new()
    {
        ["prompt"] = parameters.Prompt,
        ["negative_prompt"] = parameters.NegativePrompt,
        ["seed"] = parameters.Seed,
        ["steps"] = parameters.Steps,
        ["guidance_scale"] = parameters.CfgScale,
        ["scheduler"] = parameters.Sampler,
        ["schedule_type"] = parameters.ScheduleType,
        ["width"] = parameters.Width,
        ["height"] = parameters.Height,
        ["model"] = parameters.Model,
        ["other"] = new JsonObject(parameters.Other.DistinctBy(o => o.Key).Select(o => KeyValuePair.Create(o.Key, (JsonNode?)o.Value))),
        ["version"] = parameters.Version,
    };
}
