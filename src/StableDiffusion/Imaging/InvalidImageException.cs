namespace StableDiffusion.Imaging;

/// <summary>
/// A picture file that cannot be read: missing, damaged, or of a kind that is not supported. The message is one sentence that names
/// the file. Derives from <see cref="IOException"/>, so that one handler serves everything that can go wrong with files on disk.
/// </summary>
public sealed class InvalidImageException : IOException
{
    /// <summary>Creates the exception with a message for the user.</summary>
    public InvalidImageException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception with a message for the user and the failure behind it.</summary>
    public InvalidImageException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
