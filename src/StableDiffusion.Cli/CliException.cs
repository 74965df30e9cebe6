namespace StableDiffusion.Cli;

/// <summary>A failure that the user is told in one line: what, why, what to do.</summary>
internal sealed class CliException(int exitCode, string message, Exception? innerException = null) : Exception(message, innerException)
{
    /// <summary>One of <see cref="Cli.ExitCode"/>.</summary>
    internal int ExitCode { get; } = exitCode;

    internal static CliException Usage(string message) => new(Cli.ExitCode.Usage, message);

    internal static CliException File(string message, Exception? innerException = null) => new(Cli.ExitCode.File, message, innerException);
}
