namespace StableDiffusion.Weights;

/// <summary>
/// Weights that cannot be used: a file that is missing, unreadable, truncated or malformed, or tensors that do not fit the model.
/// The message is one sentence that names the file and, where there is one, the tensor. Derives from <see cref="IOException"/>,
/// so that one handler serves everything that can go wrong with files on disk.
/// </summary>
public sealed class InvalidWeightsException : IOException
{
    /// <summary>Creates the exception with a message for the user.</summary>
    public InvalidWeightsException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception with a message for the user and the failure behind it.</summary>
    public InvalidWeightsException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>True if the file asks for something that may do harm.</summary>
    internal bool IsHarmful { get; init; }
}
