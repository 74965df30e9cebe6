namespace StableDiffusion.Models;

/// <summary>
/// A model's configuration that cannot be used: missing, malformed, contradictory, or asking for something that is not supported. The
/// message is one sentence that names the file and the key. Derives from <see cref="IOException"/>, as <see cref="Weights.InvalidWeightsException"/> does.
/// </summary>
public sealed class InvalidConfigException : IOException
{
    /// <summary>Creates the exception with a message for the user.</summary>
    public InvalidConfigException(string message) : base(message) { }

    /// <summary>Creates the exception with a message for the user and the failure behind it.</summary>
    public InvalidConfigException(string message, Exception innerException) : base(message, innerException) { }
}
