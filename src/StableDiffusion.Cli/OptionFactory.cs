using System.CommandLine;
using System.CommandLine.Parsing;
using StableDiffusion.Native;

namespace StableDiffusion.Cli;

/// <summary>Options whose bad values are refused with what would fit.</summary>
internal static class OptionFactory
{
    internal delegate bool TryParse<T>(string text, out T value);

    internal static Option<bool> Flag(string name, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, Arity = ArgumentArity.Zero };

    internal static Option<string?> Text(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { HelpName = valueName, Description = description, Arity = ArgumentArity.ExactlyOne };

    /// <summary>A text that may be given several times.</summary>
    internal static Option<string[]> Texts(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { HelpName = valueName, Description = description, Arity = ArgumentArity.OneOrMore, DefaultValueFactory = _ => [] };

    internal static Option<string> TextWithDefault(string name, string valueName, string description, string defaultValue, params string[] aliases) =>
        new(name, aliases) { HelpName = valueName, Description = description, Arity = ArgumentArity.ExactlyOne, DefaultValueFactory = _ => defaultValue };

    internal static Option<int> Int(string name, string valueName, string description, int defaultValue, int minimum, int maximum, params string[] aliases)
    {
        Option<int> option = Parsed<int>(name, valueName, description,
            (string text, out int value) => Units.TryParseInt(text, out value) && value >= minimum && value <= maximum, WholeNumber(minimum, maximum), aliases);
        option.DefaultValueFactory = _ => defaultValue;
        return option;
    }

    internal static Option<int?> OptionalInt(string name, string valueName, string description, int minimum, params string[] aliases) =>
        Parsed(name, valueName, description, (string text, out int? value) =>
        {
            bool valid = Units.TryParseInt(text, out int number) && number >= minimum;
            value = valid ? number : null;
            return valid;
        }, WholeNumber(minimum, int.MaxValue), aliases);

    /// <summary>A finite number, within a range where one is given.</summary>
    internal static Option<double?> Double(string name, string valueName, string description, (double Minimum, double Maximum)? range, params string[] aliases) =>
        Parsed(name, valueName, description, (string text, out double? value) =>
        {
            bool valid = Units.TryParseDouble(text, out double number) && double.IsFinite(number) && (range is null || (number >= range.Value.Minimum && number <= range.Value.Maximum));
            value = valid ? number : null;
            return valid;
        }, range is { } r ? Units.Text($"is not a number from {r.Minimum} to {r.Maximum}") : "is not a finite number", aliases);

    /// <summary><c>--precision</c>, of the commands that compute.</summary>
    internal static Option<Precision> PrecisionOption() => Parsed<Precision>("--precision", "NAME",
        "CPU: reference, or fast, which multiplies 3x3 convolutions by Winograd's algorithm, and weights of 16 bits as such where the processor does that faster; the picture differs a little. [default: reference]",
        (string text, out Precision precision) => Enum.TryParse(text, ignoreCase: true, out precision) && Enum.IsDefined(precision) && !char.IsAsciiDigit(text[0]), "is not reference or fast");

    /// <summary>An option with a parser of its own; a value it refuses is an error that says what would fit.</summary>
    internal static Option<T> Parsed<T>(string name, string valueName, string description, TryParse<T> parse, string complaint, params string[] aliases) =>
        new(name, aliases)
        {
            HelpName = valueName,
            Description = description,
            Arity = ArgumentArity.ExactlyOne,
            CustomParser = result =>
            {
                string text = result.Tokens[^1].Value;
                if (!parse(text, out T value))
                {
                    result.AddError($"{name}: '{text}' {complaint}");
                }
                return value;
            },
        };

    private static string WholeNumber(int minimum, int maximum) =>
        maximum == int.MaxValue ? $"is not a whole number of at least {minimum}" : $"is not a whole number from {minimum} to {maximum}";
}
