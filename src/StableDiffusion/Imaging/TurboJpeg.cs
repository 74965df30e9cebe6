using System.Runtime.InteropServices;

namespace StableDiffusion.Imaging;

/// <summary>
/// The four functions of the system's libjpeg-turbo (TurboJPEG API, version 2 or later) that decode a file. The library is looked for when
/// the first JPEG file is read; nothing else needs it. Its functions are found by name instead of imported, because the file that holds
/// them is called differently from system to system, and because its absence is an ordinary answer here.
/// </summary>
internal sealed unsafe class TurboJpeg
{
    /// <summary>TJPF_RGB.</summary>
    public const int Rgb = 0;

    /// <summary>TJPF_CMYK.</summary>
    public const int Cmyk = 11;

    /// <summary>What to tell who has no library.</summary>
    public const string HowToGet = "JPEG files need the library libjpeg-turbo, which is not installed (Debian: apt install libturbojpeg0; Ubuntu: apt install libturbojpeg; "
        + "Fedora: dnf install turbojpeg; macOS: brew install jpeg-turbo; Windows: turbojpeg.dll beside the program); install it, or convert the file to PNG";

    private const int StopOnWarning = 8192; // TJFLAG_STOPONWARNING
    private const int LimitScans = 32768; // TJFLAG_LIMITSCANS: thousands of empty scans would keep us busy for long.

    private static readonly Lazy<TurboJpeg?> LazyShared = new(() => Find(Names()));

    private readonly delegate* unmanaged<nint> initDecompress;
    private readonly delegate* unmanaged<nint, byte*, CULong, byte*, int, int, int, int, int, int> decompress;
    private readonly delegate* unmanaged<nint, nint> getErrorText;
    private readonly delegate* unmanaged<nint, int> destroy;

    private TurboJpeg(nint library)
    {
        initDecompress = (delegate* unmanaged<nint>)NativeLibrary.GetExport(library, "tjInitDecompress");
        decompress = (delegate* unmanaged<nint, byte*, CULong, byte*, int, int, int, int, int, int>)NativeLibrary.GetExport(library, "tjDecompress2");
        getErrorText = (delegate* unmanaged<nint, nint>)NativeLibrary.GetExport(library, "tjGetErrorStr2");
        destroy = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "tjDestroy");
    }

    /// <summary>The system's library, or null where there is none.</summary>
    public static TurboJpeg? Shared => LazyShared.Value;

    /// <summary>The first library of these names that can be loaded and has the functions, or null.</summary>
    public static TurboJpeg? Find(IEnumerable<string> names)
    {
        foreach (string name in names)
        {
            if (NativeLibrary.TryLoad(name, typeof(TurboJpeg).Assembly, null, out nint library))
            {
                if (NativeLibrary.TryGetExport(library, "tjGetErrorStr2", out _)) // New in version 2.
                {
                    return new TurboJpeg(library);
                }

                NativeLibrary.Free(library);
            }
        }

        return null;
    }

    /// <summary>Decodes a file.</summary>
    /// <param name="file">The whole file.</param>
    /// <param name="width">Its width: the library writes no more than this, even if it should read another one.</param>
    /// <param name="height">Its height, likewise.</param>
    /// <param name="format"><see cref="Rgb"/> or <see cref="Cmyk"/>.</param>
    /// <param name="pixels">Receives width * height pixels of 3 or 4 bytes.</param>
    /// <returns>Null, or what went wrong in the library's words, without a full stop.</returns>
    public string? Decompress(ReadOnlySpan<byte> file, int width, int height, int format, Span<byte> pixels)
    {
        int pitch = width * (format == Cmyk ? 4 : 3);
        ArgumentOutOfRangeException.ThrowIfLessThan(pixels.Length, (long)pitch * height);
        nint handle = initDecompress();
        if (handle == 0)
        {
            return "out of memory";
        }

        try
        {
            fixed (byte* from = file)
            {
                fixed (byte* to = pixels)
                {
                    int status = decompress(handle, from, new CULong((nuint)file.Length), to, width, pitch, height, format, StopOnWarning | LimitScans);
                    return status == 0 ? null : (Marshal.PtrToStringUTF8(getErrorText(handle)) ?? "unknown failure").TrimEnd('.', '\n');
                }
            }
        }
        finally
        {
            _ = destroy(handle);
        }
    }

    private static string[] Names()
        => OperatingSystem.IsWindows() ? ["turbojpeg.dll", "libturbojpeg.dll"]
            : OperatingSystem.IsMacOS() ? ["libturbojpeg.dylib", "/opt/homebrew/lib/libturbojpeg.dylib", "/usr/local/lib/libturbojpeg.dylib", "/opt/libjpeg-turbo/lib64/libturbojpeg.dylib"]
            : ["libturbojpeg.so.0", "libturbojpeg.so"];
}
