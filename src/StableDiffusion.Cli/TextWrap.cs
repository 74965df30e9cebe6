using System.Text;

namespace StableDiffusion.Cli;

/// <summary>Breaks text into lines between words.</summary>
internal static class TextWrap
{
    internal static string Wrap(string text, string indent, int width)
    {
        var wrapped = new StringBuilder();
        int column = width;
        foreach (string word in text.Split(' '))
        {
            if (column + word.Length + 1 > width)
            {
                wrapped.Append(wrapped.Length == 0 ? "" : Environment.NewLine).Append(indent).Append(word);
                column = indent.Length + word.Length;
            }
            else
            {
                wrapped.Append(' ').Append(word);
                column += word.Length + 1;
            }
        }
        return wrapped.ToString();
    }
}
