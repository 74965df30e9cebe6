using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

/// <summary>Finds and loads libsdn: <c>SDN_LIBRARY</c> if set, else beside the assemblies, else <c>runtimes/&lt;rid&gt;/native</c>.</summary>
public static class NativeLibraryLocator
{
    private static readonly Lazy<(nint Handle, string Path)> Loaded = new(LoadOnce);

    /// <summary>The file that was loaded.</summary>
    /// <exception cref="DllNotFoundException">None was found; the text lists every place looked at and why it was not taken.</exception>
    public static string Path => Loaded.Value.Path;

    /// <summary>Compiler, instruction sets and CUDA support of the loaded library, in one line.</summary>
    public static string BuildInfo => Interop.BuildInfo;

    /// <summary>Native objects that were never disposed and died in the finalizer. Should be 0.</summary>
    public static long LeakedHandles => NativeHandle.LeakCount;

    /// <summary>Native objects alive now.</summary>
    public static long LiveHandles => NativeHandle.LiveCount;

    internal static nint Load() => Loaded.Value.Handle;

    private static string FileName =>
        OperatingSystem.IsWindows() ? "sdn.dll" : OperatingSystem.IsMacOS() ? "libsdn.dylib" : "libsdn.so";

    private static IEnumerable<string> Candidates()
    {
        string? configured = Environment.GetEnvironmentVariable("SDN_LIBRARY");
        if (!string.IsNullOrEmpty(configured))
        {
            yield return configured;
            yield break;
        }
        string system = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux";
        string rid = $"{system}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";
        yield return System.IO.Path.Combine(AppContext.BaseDirectory, FileName);
        yield return System.IO.Path.Combine(AppContext.BaseDirectory, "runtimes", rid, "native", FileName);
        // A single-file app unpacks a package's native libraries into folders that the host names.
        foreach (string folder in (AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "").Split(
            System.IO.Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries))
        {
            yield return System.IO.Path.Combine(folder, FileName);
        }
        // One that unpacks all of its content has its base directory elsewhere than beside the executable.
        if (System.IO.Path.GetDirectoryName(Environment.ProcessPath) is { } executableFolder)
        {
            yield return System.IO.Path.Combine(executableFolder, FileName);
        }
    }

    private static (nint, string) LoadOnce()
    {
        var tried = new List<string>();
        foreach (string path in Candidates().Distinct())
        {
            if (!File.Exists(path))
            {
                tried.Add($"{path} (not there)");
                continue;
            }
            try
            {
                nint handle = NativeLibrary.Load(path);
                CheckAbi(handle, path);
                return (handle, path);
            }
            catch (DllNotFoundException e)
            {
                tried.Add($"{path} ({e.Message})");
            }
        }
        throw new DllNotFoundException(
            $"The native library {FileName} was not found. Build it (dotnet build does) or set SDN_LIBRARY to its path. Tried: {string.Join("; ", tried)}");
    }

    /// <summary>A library of another version would read our structs wrongly: refuse it before the first call.</summary>
    private static unsafe void CheckAbi(nint library, string path)
    {
        var version = (delegate* unmanaged<int>)NativeLibrary.GetExport(library, nameof(Interop.sdn_abi_version));
        if (version() != Interop.AbiVersion)
        {
            throw new DllNotFoundException($"{path} has ABI version {version()}, these bindings need {Interop.AbiVersion}: use files of one build.");
        }
        var size = (delegate* unmanaged<int, long>)NativeLibrary.GetExport(library, nameof(Interop.sdn_struct_size));
        foreach ((int kind, int expected, string name) in Interop.Structs)
        {
            if (size(kind) != expected)
            {
                throw new DllNotFoundException($"{path}: {name} has {size(kind)} bytes, these bindings expect {expected}: use files of one build.");
            }
        }
    }
}
