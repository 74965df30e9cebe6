using System.CommandLine;
using System.Text.Json.Nodes;

namespace StableDiffusion.Cli.Doctor;

/// <summary><c>doctor</c>: says what this machine has and whether a picture could be drawn.</summary>
internal sealed class DoctorCommand : CliCommand
{
    private readonly Option<bool> _json = OptionFactory.Flag("--json", "Print one JSON object: {\"ok\", \"problems\", \"facts\"}.");
    private readonly Terminal _terminal;

    internal DoctorCommand(Terminal terminal) : base("doctor", "Show devices, versions and where things were found, and whether a picture can be drawn.")
    {
        _terminal = terminal;
        Add(_json);
        SetAction(Run);
    }

    /// <inheritdoc />
    internal override string Notes => $"""
        Returns 0 if a picture can be drawn with the built-in demo model, else {ExitCode.Failure} with what to do about it.

        Example:
          {CommandLineApp.Name} doctor
        """;

    private int Run(ParseResult parsed)
    {
        Diagnosis diagnosis = Examination.Run();
        if (parsed.GetValue(_json))
        {
            _terminal.Out.WriteLine(ToJson(diagnosis).ToJsonString(Json.Options));
        }
        else
        {
            WriteText(diagnosis);
        }
        return diagnosis.Problems.Count == 0 ? ExitCode.Ok : ExitCode.Failure;
    }

    private void WriteText(Diagnosis diagnosis)
    {
        foreach (var heading in diagnosis.Facts.GroupBy(f => f.Heading))
        {
            _terminal.Out.WriteLine(heading.Key);
            int width = heading.Max(f => f.Name.Length);
            foreach ((_, string name, string value) in heading)
            {
                _terminal.Out.WriteLine($"  {name.PadRight(width)}  {value}");
            }
            _terminal.Out.WriteLine();
        }
        if (diagnosis.Problems.Count == 0)
        {
            _terminal.Out.WriteLine("All well: a picture can be drawn.");
            return;
        }
        _terminal.Out.WriteLine("No picture can be drawn:");
        foreach (string problem in diagnosis.Problems)
        {
            _terminal.Out.WriteLine($"  {problem}");
        }
    }

    private static JsonObject ToJson(Diagnosis diagnosis)
    {
        var facts = new JsonObject();
        foreach (var heading in diagnosis.Facts.GroupBy(f => f.Heading))
        {
            facts[heading.Key] = new JsonObject(heading.Select(f => KeyValuePair.Create(f.Name, (JsonNode?)f.Value)));
        }
        return new JsonObject
        {
            ["ok"] = diagnosis.Problems.Count == 0,
            ["problems"] = new JsonArray([.. diagnosis.Problems.Select(p => (JsonNode?)p)]),
            ["facts"] = facts,
        };
    }
}
