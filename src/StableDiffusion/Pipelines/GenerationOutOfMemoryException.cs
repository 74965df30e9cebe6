using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Memory that was free when the generation was planned was taken by others before the decoder needed it. What was drawn until then is not
/// lost: decode <see cref="Latents"/> later, with <see cref="ComponentExtensions.Decode"/> or on another device.
/// </summary>
public sealed class GenerationOutOfMemoryException : OutOfDeviceMemoryException
{
    internal GenerationOutOfMemoryException(FloatTensor latents, long neededBytes, long freeBytes, Exception inner)
        : base("Decoding the finished latents", neededBytes, freeBytes, "The exception holds the latents: free memory and decode them, or draw again.", inner) =>
        Latents = latents;

    /// <summary>The final latents <c>[B,4,H/8,W/8]</c>, before the division by scaling_factor.</summary>
    public FloatTensor Latents { get; }
}
