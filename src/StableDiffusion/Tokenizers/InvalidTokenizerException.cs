namespace StableDiffusion.Tokenizers;

/// <summary>
/// Tokenizer files that cannot be used: missing, unreadable or malformed. The message is one sentence that names the file. Derives
/// from <see cref="IOException"/>, so that one handler serves everything that can go wrong with files on disk.
/// </summary>
public sealed class InvalidTokenizerException : IOException
{
    /// <summary>Creates the exception with a message for the user.</summary>
    public InvalidTokenizerException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception with a message for the user and the failure behind it.</summary>
    public InvalidTokenizerException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
