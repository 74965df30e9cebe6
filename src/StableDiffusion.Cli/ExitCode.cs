namespace StableDiffusion.Cli;

/// <summary>What the process returns; listed in <c>--help</c>.</summary>
internal static class ExitCode
{
    internal const int Ok = 0;
    internal const int Failure = 1;
    internal const int Usage = 2;
    internal const int File = 3;
    internal const int Memory = 4;
    internal const int Device = 5;
    internal const int Cancelled = 130;

    /// <summary>Every code with its meaning, for the help text.</summary>
    internal static readonly (int Code, string Meaning)[] All =
    [
        (Ok, "done"),
        (Failure, "something else failed; the message says what"),
        (Usage, "arguments that cannot be used"),
        (File, "a file is missing, damaged or cannot be written"),
        (Memory, "not enough memory for what was asked"),
        (Device, "the device that was asked for is not available"),
        (Cancelled, "cancelled (Ctrl+C)"),
    ];
}
