using StableDiffusion.Cli;

namespace StableDiffusion.Tests.Cli;

/// <summary>Tables on a terminal and elsewhere.</summary>
public class TextTableTests
{
    static string Write(bool onTerminal, string name)
    {
        using var output = new StringWriter();
        var table = new TextTable("layer", "seconds>");
        table.Add(name, "1.5");
        table.Add("b", "10");
        table.WriteTo(new Terminal(output, TextWriter.Null, outIsTerminal: onTerminal));
        return output.ToString();
    }

    [Test]
    public void WriteTo_File_AlignsColumnsWithoutFrame() =>
        Assert.That(Write(false, "conv").ReplaceLineEndings("\n"), Is.EqualTo("layer  seconds\nconv       1.5\nb           10\n"));

    [Test]
    public void WriteTo_Terminal_HasAFrame() => Assert.That(Write(true, "conv"), Does.Contain("╭").And.Contain("conv"));

    [Test]
    public void WriteTo_TerminalThatIsTooNarrow_CutsNothing()
    {
        string name = new('x', 500);
        Assert.That(Write(true, name), Does.Contain(name).And.Not.Contain("╭"));
    }

    [Test]
    public void WriteTo_TextWithBrackets_IsNoMarkup() => Assert.That(Write(true, "[48, 4] [/]"), Does.Contain("[48, 4] [/]"));
}
