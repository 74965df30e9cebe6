using System.Globalization;

namespace StableDiffusion.Cli;

/// <summary>Quantities as the user writes and reads them, the same in every culture.</summary>
internal static class Units
{
    private static readonly (string Suffix, long Factor)[] ByteSuffixes =
        [("K", 1L << 10), ("M", 1L << 20), ("G", 1L << 30), ("T", 1L << 40)];

    /// <summary>"512" as a square, or "WIDTHxHEIGHT".</summary>
    internal static bool TryParseSize(string text, out int width, out int height)
    {
        string[] sides = text.ToLowerInvariant().Split('x', '×');
        height = 0;
        if (sides.Length is not (1 or 2) || !TryParseInt(sides[0], out width))
        {
            width = 0;
            return false;
        }
        height = width;
        return sides.Length == 1 || TryParseInt(sides[1], out height);
    }

    /// <summary>"4G", "1.5G", "800M", "800MB", "4GiB" or plain bytes; 1K = 1024.</summary>
    internal static bool TryParseBytes(string text, out long? bytes)
    {
        string upper = text.Trim().ToUpperInvariant();
        upper = upper.EndsWith("IB", StringComparison.Ordinal) ? upper[..^2] : upper.EndsWith('B') ? upper[..^1] : upper;
        double factor = 1;
        foreach ((string suffix, long value) in ByteSuffixes)
        {
            if (upper.EndsWith(suffix, StringComparison.Ordinal))
            {
                (factor, upper) = (value, upper[..^1]);
                break;
            }
        }
        bool valid = double.TryParse(upper, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number)
            && number > 0 && number * factor is >= 1 and < 1e18;
        bytes = valid ? (long)(number * factor) : null;
        return valid;
    }

    /// <summary>A whole number, with a sign and nothing else around it.</summary>
    internal static bool TryParseInt(string text, out int value) =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);

    /// <summary>A decimal number; NaN and infinities parse, so that whoever checks the range can name them.</summary>
    internal static bool TryParseDouble(string text, out double value) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value);

    /// <summary>Bytes in the unit that fits: "10.2 MB", 1 MB = 1024 x 1024 bytes.</summary>
    internal static string Bytes(long bytes) => Math.Abs((double)bytes) switch
    {
        >= 1L << 30 => Text($"{bytes / (double)(1L << 30):0.00} GB"),
        >= 1L << 20 => Text($"{bytes / (double)(1L << 20):0.0} MB"),
        >= 1L << 10 => Text($"{bytes / (double)(1L << 10):0.0} KB"),
        _ => Text($"{bytes} bytes"),
    };

    /// <summary>A count in millions where that is shorter: "859.52 M".</summary>
    internal static string Count(long count) => count switch
    {
        >= 10_000_000_000 => Text($"{count / 1e9:0.00} G"),
        >= 100_000 => Text($"{count / 1e6:0.00} M"),
        _ => Text($"{count}"),
    };

    /// <summary>A duration with three digits: "0.021 s", "12.5 s", "2:05 min".</summary>
    internal static string Seconds(double seconds) => seconds switch
    {
        >= 120 => Text($"{(long)seconds / 60}:{(long)seconds % 60:00} min"),
        >= 10 => Text($"{seconds:0.0} s"),
        >= 1 => Text($"{seconds:0.00} s"),
        _ => Text($"{seconds:0.000} s"),
    };

    /// <summary>A duration in the future, which nobody knows to the millisecond: "3 s", "2:05 min".</summary>
    internal static string WholeSeconds(double seconds) => seconds > 119 ? Seconds(Math.Ceiling(seconds)) : Text($"{Math.Ceiling(seconds):0} s");

    /// <summary>Formats in the invariant culture.</summary>
    internal static string Text(FormattableString text) => FormattableString.Invariant(text);
}
