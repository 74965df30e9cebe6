using System.Text.RegularExpressions;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli;

/// <summary>The one table from exceptions to exit codes and the line on stderr.</summary>
internal static partial class Failures
{
    /// <summary>The environment variable that adds stack traces to messages.</summary>
    internal const string DebugVariable = "SDN_DEBUG";

    /// <summary>Writes the failure to stderr and returns its exit code.</summary>
    internal static int Report(Exception failure, Terminal terminal)
    {
        (int code, string text) = Describe(failure);
        terminal.Err.WriteLine(code == ExitCode.Cancelled ? text : $"error: {text}");
        if (Environment.GetEnvironmentVariable(DebugVariable) is { Length: > 0 } and not "0")
        {
            terminal.Err.WriteLine(failure);
        }
        return code;
    }

    /// <summary>Exit code and one line of text for any exception.</summary>
    internal static (int Code, string Text) Describe(Exception failure)
    {
        failure = Unwrap(failure);
        return failure switch
        {
            CliException known => (known.ExitCode, OneLine(known.Message)),
            OperationCanceledException => (ExitCode.Cancelled, "cancelled"),
            DeviceNotFoundException => (ExitCode.Device, TextOf(failure) + "; 'doctor' lists the devices of this machine"),
            // Here the op is what the user wants to know.
            DeviceFaultException => (ExitCode.Failure, WhiteSpace().Replace(OpName().Replace(failure.Message, "$1 "), " ").Trim()),
            OutOfDeviceMemoryException => (ExitCode.Memory, OneLine(failure.Message)),
            OutOfMemoryException => (ExitCode.Memory, "not enough memory: " + OneLine(failure.Message) + " Close other programs, or draw smaller or fewer pictures at a time"),
            DllNotFoundException or EntryPointNotFoundException or BadImageFormatException =>
                (ExitCode.Failure, OneLine(failure.Message) + " 'doctor' tells more"),
            IOException or UnauthorizedAccessException => (ExitCode.File, OneLine(failure.Message)),
            InvalidDataException => (ExitCode.File, OneLine(failure.Message)),
            ArgumentException => (ExitCode.Usage, OneLine(failure.Message)),
            NotSupportedException or NativeException or NonFiniteException => (ExitCode.Failure, OneLine(failure.Message)),
            _ => (ExitCode.Failure, $"{OneLine(failure.Message)} ({failure.GetType().Name}; set {DebugVariable}=1 to see where)"),
        };
    }

    /// <summary>The message alone, in one line, without names of our own functions.</summary>
    internal static string TextOf(Exception failure) => Clean(Unwrap(failure).Message);

    /// <summary>A message of the native library likewise.</summary>
    internal static string Clean(string message) => OneLine(message).TrimEnd('.');

    private static Exception Unwrap(Exception failure)
    {
        while (failure is AggregateException or TypeInitializationException or System.Reflection.TargetInvocationException
            && failure.InnerException is { } inner)
        {
            failure = inner;
        }
        return failure;
    }

    // ArgumentException adds "(Parameter 'x')" and the native library names its function: names of our code, not of the user's options.
    private static string OneLine(string message) => WhiteSpace().Replace(OwnNames().Replace(message, ""), " ").Trim();

    [GeneratedRegex(@"\s+")]
    private static partial Regex WhiteSpace();

    [GeneratedRegex(@"\bsdn_(\w+): ")]
    private static partial Regex OpName();

    [GeneratedRegex(@"\s*\(Parameter '[^']*'\)|\bsdn_\w+: ")]
    private static partial Regex OwnNames();
}
