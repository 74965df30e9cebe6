using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Weights;

/// <summary>
/// A file opened for positioned reads, which may come from several threads at once. Nothing is mapped, so a file that is cut short
/// while it is open is an exception and not a fault. Every failure is an <see cref="InvalidWeightsException"/> that names the file.
/// </summary>
internal sealed class PositionedFile : IDisposable
{
    private readonly SafeFileHandle handle;

    private PositionedFile(string path, SafeFileHandle handle, long length)
    {
        Path = path;
        this.handle = handle;
        Length = length;
    }

    /// <summary>The path the file was opened with.</summary>
    public string Path { get; }

    /// <summary>Bytes in the file when it was opened.</summary>
    public long Length { get; }

    /// <summary>Opens a file.</summary>
    /// <exception cref="InvalidWeightsException">There is no such file, or it is a folder, a pipe or not readable.</exception>
    public static PositionedFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        SafeFileHandle handle = OpenHandle(path);
        try
        {
            return new PositionedFile(path, handle, RandomAccess.GetLength(handle));
        }
        catch (NotSupportedException failure)
        {
            handle.Dispose();
            throw new InvalidWeightsException($"'{path}' cannot be loaded: it is a pipe or device, not a file.", failure);
        }
    }

    /// <summary>Fills a buffer from a place in the file.</summary>
    /// <param name="destination">What to fill.</param>
    /// <param name="offset">Bytes from the beginning of the file.</param>
    /// <param name="part">What is read, for messages: "its header", "the tensor 'conv_in.weight'".</param>
    /// <exception cref="InvalidWeightsException">The file ends before the buffer is full, or reading fails.</exception>
    public void ReadExactly(Span<byte> destination, long offset, string part)
    {
        while (!destination.IsEmpty)
        {
            int count;
            try
            {
                count = RandomAccess.Read(handle, destination, offset);
            }
            catch (IOException failure)
            {
                throw new InvalidWeightsException($"'{Path}' cannot be loaded: reading {part} failed.", failure);
            }

            if (count == 0)
            {
                throw SafetensorsHeader.Bad(Path, $"it ends in the middle of {part}");
            }

            destination = destination[count..];
            offset += count;
        }
    }

    /// <summary>A part of the file in memory of its own; the caller has checked that it is not too long.</summary>
    /// <exception cref="InvalidWeightsException">The file ends before, or reading fails.</exception>
    public byte[] ReadBytes(long offset, int count, string part)
    {
        if (offset < 0 || count > Length - offset)
        {
            throw SafetensorsHeader.Bad(Path, $"it ends in the middle of {part}");
        }

        byte[] bytes = new byte[count];
        ReadExactly(bytes, offset, part);
        return bytes;
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

    private static SafeFileHandle OpenHandle(string path)
    {
        try
        {
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidWeightsException($"'{path}' cannot be loaded: there is no such file.", failure);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new InvalidWeightsException($"'{path}' cannot be loaded: {(Directory.Exists(path) ? "it is a folder, not a file" : "it cannot be opened for reading")}.", failure);
        }
    }
}
