using StableDiffusion.Nn;

namespace StableDiffusion.Tests.Models;

/// <summary>The convolutions that <see cref="Native.Precision.Fast"/> may do by Winograd: 3x3 of stride 1, whether it takes them at a given size or not.</summary>
internal static class WinogradSums
{
    /// <summary>The products that each of them in a layer adds up for an output.</summary>
    public static IEnumerable<long> Of(Layer layer) =>
        layer.Children.SelectMany(Of).Concat(layer is Conv2d { Kernel: 3, Stride: 1 } convolution ? [9 * convolution.InChannels] : []);
}
