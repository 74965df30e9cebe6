using System.Diagnostics;
using System.Globalization;

namespace StableDiffusion.Cli.Bench;

/// <summary>The most physical memory this process held at one time.</summary>
internal static class ProcessMemory
{
    private const string Status = "/proc/self/status";

    /// <summary>Linux: lets the peak begin anew. Elsewhere it counts from the start of the process.</summary>
    internal static void ResetPeak()
    {
        try
        {
            if (OperatingSystem.IsLinux())
            {
                // Documented in proc(5): 5 resets the peak resident set size.
                File.WriteAllText("/proc/self/clear_refs", "5");
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // A sandbox may forbid it; the peak then includes the start of the process, which is small.
        }
    }

    /// <summary>Peak resident set in bytes.</summary>
    internal static long Peak()
    {
        if (OperatingSystem.IsLinux())
        {
            foreach (string line in File.ReadLines(Status))
            {
                // "VmHWM:   1234 kB"
                if (line.StartsWith("VmHWM:", StringComparison.Ordinal))
                {
                    return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
                }
            }
        }
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}
