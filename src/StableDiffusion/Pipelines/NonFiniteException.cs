namespace StableDiffusion.Pipelines;

/// <summary>Latents or pixels became NaN or infinite; the message names component, step and dtype. Thrown instead of a black picture.</summary>
public sealed class NonFiniteException(string message) : ArithmeticException(message);
