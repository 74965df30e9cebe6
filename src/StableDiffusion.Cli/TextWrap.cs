using System.Text;

namespace StableDiffusion.Cli;

/// <summary>Breaks lists into lines.</summary>
internal static class TextWrap
{
    /// <summary>Items with commas between them, in lines of at most so many characters; no item is broken.</summary>
    internal static string Wrap(IReadOnlyList<string> items, string indent, int width)
    {
        var wrapped = new StringBuilder(indent);
        int column = indent.Length;
        for (int i = 0; i < items.Count; i++)
        {
            string item = i < items.Count - 1 ? $"{items[i]}," : items[i];
            if (column > indent.Length && column + 1 + item.Length > width)
            {
                wrapped.AppendLine().Append(indent);
                column = indent.Length;
            }
            else if (column > indent.Length)
            {
                wrapped.Append(' ');
                column++;
            }
            wrapped.Append(item);
            column += item.Length;
        }
        return wrapped.ToString();
    }
}
