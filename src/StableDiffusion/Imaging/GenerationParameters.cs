using System.Globalization;
using System.Reflection;
using System.Text;

namespace StableDiffusion.Imaging;

/// <summary>
/// How a picture was made, in the text form that the common web UIs write into their PNG files under the key "parameters" and read
/// back from there: the prompt, a line "Negative prompt: ...", and a last line of settings such as
/// "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512". Settings that a text does not have are null.
/// </summary>
public sealed record GenerationParameters
{
    /// <summary>The key of the PNG text chunk.</summary>
    public const string PngKey = "parameters";

    /// <summary>What <see cref="Version"/> says for pictures made by this library.</summary>
    public static string ThisVersion { get; } = "StableDiffusion.Native " + Assembly.GetExecutingAssembly().GetName().Version!.ToString(3);

    /// <summary>What to draw.</summary>
    public string Prompt { get; init; } = "";

    /// <summary>What not to draw.</summary>
    public string NegativePrompt { get; init; } = "";

    /// <summary>"Steps": denoise steps; diffusers: num_inference_steps.</summary>
    public int? Steps { get; init; }

    /// <summary>"Sampler": the scheduler's name.</summary>
    public string? Sampler { get; init; }

    /// <summary>"Schedule type": the spacing of sigmas, such as "Karras".</summary>
    public string? ScheduleType { get; init; }

    /// <summary>"CFG scale"; diffusers: guidance_scale.</summary>
    public double? CfgScale { get; init; }

    /// <summary>"Seed" of this picture.</summary>
    public ulong? Seed { get; init; }

    /// <summary>First part of "Size", in pixels.</summary>
    public int? Width { get; init; }

    /// <summary>Second part of "Size", in pixels.</summary>
    public int? Height { get; init; }

    /// <summary>"Model": the checkpoint's name.</summary>
    public string? Model { get; init; }

    /// <summary>All other settings in the order of the text, such as "Denoising strength" or "Clip skip". Keys are letters, digits, blanks, '-' and '/'.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Other { get; init; } = [];

    /// <summary>"Version": the program that made the picture.</summary>
    public string? Version { get; init; } = ThisVersion;

    /// <summary>Reads the parameters in a PNG file, or null if it has none.</summary>
    /// <exception cref="InvalidImageException">It is missing, damaged or no PNG file.</exception>
    public static GenerationParameters? Load(string path) => From(PngText.Load(path));

    /// <summary>The parameters among the texts of a PNG file, or null if there are none.</summary>
    public static GenerationParameters? From(IReadOnlyList<KeyValuePair<string, string>> texts)
    {
        foreach ((string key, string text) in texts)
        {
            if (key == PngKey)
            {
                return Parse(text);
            }
        }

        return null;
    }

    /// <summary>Reads the text form. Never fails: text without a line of settings is a prompt.</summary>
    public static GenerationParameters Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<string> lines = [.. text.Trim().Split('\n')];
        List<KeyValuePair<string, string>> settings = ParameterLine.Parse(lines[^1]);
        if (settings.Count >= ParameterLine.FewestSettings)
        {
            lines.RemoveAt(lines.Count - 1);
        }
        else
        {
            settings.Clear();
        }

        (string prompt, string negative) = SplitPrompts(lines);
        GenerationParameters parameters = new() { Prompt = prompt, NegativePrompt = negative, Version = null };
        foreach ((string key, string value) in settings)
        {
            parameters = parameters.With(key, value);
        }

        return parameters;
    }

    /// <summary>The text form.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        AppendPrompts(text);
        string settings = ParameterLine.Format([.. Settings()]);
        string form = text + settings;

        // A prompt that does not survive (blanks at its ends, a line that begins with "Negative prompt:") is given once more among
        // the settings, where web UIs look last.
        GenerationParameters back = Parse(form);
        return back.Prompt == Prompt && back.NegativePrompt == NegativePrompt
            ? form
            : text + ParameterLine.Format([new("Prompt", Prompt), new("Negative prompt", NegativePrompt), .. Settings()]);
    }

    /// <summary>Equal if all settings are, <see cref="Other"/> in the same order.</summary>
    public bool Equals(GenerationParameters? other)
        => other is not null && Prompt == other.Prompt && NegativePrompt == other.NegativePrompt && Settings().SequenceEqual(other.Settings());

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Prompt, NegativePrompt, Seed);

    private static (string Prompt, string Negative) SplitPrompts(List<string> lines)
    {
        const string Marker = "Negative prompt:";
        List<string> prompt = [];
        List<string> negative = [];
        List<string> current = prompt;
        foreach (string untrimmed in lines)
        {
            string line = untrimmed.Trim();
            if (line.StartsWith(Marker, StringComparison.Ordinal))
            {
                current = negative;
                line = line[Marker.Length..].Trim();
            }

            current.Add(line);
        }

        return (string.Join('\n', prompt), string.Join('\n', negative));
    }

    private void AppendPrompts(StringBuilder text)
    {
        string Clean(string prompt) => prompt.Replace('\0', '\uFFFD');
        if (Prompt.Length > 0)
        {
            text.Append(Clean(Prompt)).Append('\n');
        }

        if (NegativePrompt.Length > 0)
        {
            text.Append("Negative prompt: ").Append(Clean(NegativePrompt)).Append('\n');
        }
    }

    private IEnumerable<KeyValuePair<string, string>> Settings()
    {
        string? size = Width is null || Height is null ? null : Invariant($"{Width}x{Height}");
        (string Key, string? Value)[] known =
        [
            ("Steps", Steps is null ? null : Invariant($"{Steps}")),
            ("Sampler", Sampler),
            ("Schedule type", ScheduleType),
            ("CFG scale", CfgScale is null ? null : Invariant($"{CfgScale}")),
            ("Seed", Seed is null ? null : Invariant($"{Seed}")),
            ("Size", size),
            ("Model", Model),
        ];
        foreach ((string key, string? value) in known)
        {
            if (value is not null)
            {
                yield return new KeyValuePair<string, string>(key, value);
            }
        }

        foreach (KeyValuePair<string, string> setting in Other)
        {
            yield return setting;
        }

        if (Version is not null)
        {
            yield return new KeyValuePair<string, string>("Version", Version);
        }
    }

    // A known setting whose value is not of its type stays among the others as it is.
    private GenerationParameters With(string key, string value)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        string[] size = value.Split('x');
        return key switch
        {
            "Prompt" => this with { Prompt = value },
            "Negative prompt" => this with { NegativePrompt = value },
            "Steps" when int.TryParse(value, NumberStyles.None, culture, out int steps) => this with { Steps = steps },
            "Sampler" => this with { Sampler = value },
            "Schedule type" => this with { ScheduleType = value },
            "CFG scale" when double.TryParse(value, NumberStyles.Float, culture, out double scale) => this with { CfgScale = scale },
            "Seed" when ulong.TryParse(value, NumberStyles.None, culture, out ulong seed) => this with { Seed = seed },
            "Size" when size.Length == 2 && int.TryParse(size[0], NumberStyles.None, culture, out int width)
                && int.TryParse(size[1], NumberStyles.None, culture, out int height) => this with { Width = width, Height = height },
            "Model" => this with { Model = value },
            "Version" => this with { Version = value },
            _ => this with { Other = [.. Other, new(key, value)] },
        };
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
