using Spectre.Console;

namespace StableDiffusion.Cli;

/// <summary>A table: framed on a terminal that is wide enough, else in plain aligned columns, which are never cut.</summary>
internal sealed class TextTable
{
    // A border and a blank on each side of a cell.
    private const int FrameWidth = 3;

    private readonly (string Title, bool Right)[] _columns;
    private readonly List<string[]> _rows = [];

    /// <summary>A title that ends with '&gt;' makes a column of numbers, aligned right.</summary>
    internal TextTable(params string[] columns) => _columns = [.. columns.Select(c => (c.TrimEnd('>'), c.EndsWith('>')))];

    internal bool IsEmpty => _rows.Count == 0;

    internal void Add(params string[] cells) => _rows.Add(cells);

    internal void WriteTo(Terminal terminal)
    {
        string[][] lines = [[.. _columns.Select(c => c.Title)], .. _rows];
        int[] widths = [.. _columns.Select((_, i) => lines.Max(line => line[i].Length))];
        if (terminal.OutIsTerminal && Terminal.Rich(terminal.Out) is var console && widths.Sum(width => width + FrameWidth) < console.Profile.Width)
        {
            WriteFramed(console);
        }
        else
        {
            WritePlain(terminal.Out, lines, widths);
        }
    }

    private void WriteFramed(IAnsiConsole console)
    {
        Table table = new Table().Border(TableBorder.Rounded);
        foreach ((string title, bool right) in _columns)
        {
            table.AddColumn(new TableColumn($"[bold]{Markup.Escape(title)}[/]") { Alignment = right ? Justify.Right : Justify.Left });
        }
        foreach (string[] row in _rows)
        {
            table.AddRow([.. row.Select(Markup.Escape)]);
        }
        console.Write(table);
    }

    private void WritePlain(TextWriter writer, string[][] lines, int[] widths)
    {
        foreach (string[] line in lines)
        {
            IEnumerable<string> cells = line.Select((cell, i) => _columns[i].Right ? cell.PadLeft(widths[i]) : cell.PadRight(widths[i]));
            writer.WriteLine(string.Join("  ", cells).TrimEnd());
        }
    }
}
