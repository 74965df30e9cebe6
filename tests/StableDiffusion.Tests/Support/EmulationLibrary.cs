using System.Runtime.CompilerServices;

namespace StableDiffusion.Tests.Support;

/// <summary>
/// The tests load the build of libsdn that also has the emulated CUDA device, which is otherwise the same; a library named by
/// <c>SDN_LIBRARY</c> comes first.
/// </summary>
internal static class EmulationLibrary
{
    /// <summary>Where the build puts it, whether it is there or not.</summary>
    public static string FilePath { get; } = Path.Combine(Fixtures.RepositoryRoot(), "artifacts", "native", "lib", "emulation",
        OperatingSystem.IsWindows() ? "sdn.dll" : OperatingSystem.IsMacOS() ? "libsdn.dylib" : "libsdn.so");

    [ModuleInitializer]
    internal static void Choose()
    {
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable("SDN_LIBRARY")) && File.Exists(FilePath))
        {
            Environment.SetEnvironmentVariable("SDN_LIBRARY", FilePath);
        }
    }
}
