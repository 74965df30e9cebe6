namespace StableDiffusion.Imaging;

/// <summary>Writes a file so that it is there complete or not at all.</summary>
internal static class AtomicFile
{
    /// <summary>Writes bytes to a path, replacing what was there.</summary>
    /// <exception cref="IOException">Names the path and says why it could not be written.</exception>
    public static void Write(string path, ReadOnlyMemory<byte> content) => Write(path, stream => stream.Write(content.Span));

    /// <summary>Writes to a path through a stream, replacing what was there once the writer has returned.</summary>
    /// <exception cref="IOException">Names the path and says why it could not be written.</exception>
    public static void Write(string path, Action<Stream> writer)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            string full = Path.GetFullPath(path);
            string target = IsDevice(full) ? full : FollowLinks(full);
            if (IsDevice(target))
            {
                using FileStream device = new(target, FileMode.Open, FileAccess.Write);
                writer(device);
            }
            else
            {
                WriteAndRename(target, writer);
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw new IOException($"'{path}' cannot be written: {Reason(path, failure)}.", failure);
        }
    }

    private static void WriteAndRename(string target, Action<Stream> writer)
    {
        if (Directory.Exists(target))
        {
            throw new IOException("it is a folder");
        }

        string folder = Path.GetDirectoryName(target)!;
        string temporary = Path.Combine(folder, $".{Guid.NewGuid():N}.tmp");
        try
        {
            using (FileStream stream = new(temporary, FileMode.CreateNew, FileAccess.Write))
            {
                writer(stream);
            }

            File.Move(temporary, target, overwrite: true);
        }
        catch
        {
            DeleteIfThere(temporary);
            throw;
        }
    }

    // A link keeps pointing to the file that is replaced.
    private static string FollowLinks(string path)
        => new FileInfo(path).LinkTarget is null ? path : File.ResolveLinkTarget(path, returnFinalTarget: true)!.FullName;

    // Such as /dev/null and /dev/stdout: renaming a file over a device would replace the device.
    private static bool IsDevice(string path)
        => !OperatingSystem.IsWindows() && (path.StartsWith("/dev/", StringComparison.Ordinal) || path.StartsWith("/proc/", StringComparison.Ordinal)) && File.Exists(path);

    private static void DeleteIfThere(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // What made the writing fail is the news; that its remains could not be removed is not.
        }
    }

    private static string Reason(string path, Exception failure)
    {
        const int DiskFullWindows = unchecked((int)0x80070070);
        const int NoSpaceUnix = 28;
        const int QuotaUnix = 122;
        return failure switch
        {
            DirectoryNotFoundException => "its folder does not exist",
            UnauthorizedAccessException => Directory.Exists(path) ? "it is a folder" : "writing there is not permitted",
            PathTooLongException => "the name is too long",
            ArgumentException or NotSupportedException => "it is not a valid path",
            { HResult: DiskFullWindows or NoSpaceUnix or QuotaUnix } => "there is no space left on the disk",
            _ => failure.Message.TrimEnd('.'),
        };
    }
}
