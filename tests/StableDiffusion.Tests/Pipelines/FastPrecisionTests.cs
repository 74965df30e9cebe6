using StableDiffusion.Native;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>What <see cref="Precision.Fast"/> does to a picture, as a peak signal-to-noise ratio against reference precision in float32.</summary>
public sealed class FastPrecisionTests
{
    // An error of one of 255 levels in every value is 48 dB, one in sixteen values 60 dB: nobody sees it. 35 dB is an error of 4.5 levels, root mean square.
    [TestCase(DType.Float32, 60)]
    [TestCase(DType.BFloat16, 35)]
    public void Generate_FastPrecision_GivesThePictureOfTheReference(DType dtype, double decibels)
    {
        byte[] reference = Draw(Precision.Reference, DType.Float32), fast = Draw(Precision.Fast, dtype);
        double squares = reference.Zip(fast, (a, b) => Math.Pow(a - b, 2)).Average();
        Assert.That(squares == 0 ? double.PositiveInfinity : 10 * Math.Log10(255 * 255 / squares), Is.GreaterThanOrEqualTo(decibels));
    }

    [Test]
    public void Open_FastPrecision_IsToldByTheDevice()
    {
        using Device fast = Device.Open("cpu", 1, Precision.Fast), reference = Device.Open("cpu", 1);
        Assert.That(fast.Info.Precision, Is.EqualTo(Precision.Fast));
        Assert.That(reference.Info.Precision, Is.EqualTo(Precision.Reference));
    }

    private static byte[] Draw(Precision precision, DType dtype)
    {
        using Device device = Device.Open("cpu", 0, precision);
        using var pipeline = StableDiffusionPipeline.Load(ModelFolder.BuiltIn, device, new LoadOptions { WeightDType = dtype });
        using GenerationResult result = pipeline.Generate(new("a large red star on a blue background") { Steps = 20, Seed = 7, Width = 256, Height = 256 });
        return result.Images[0].Pixels.ToArray();
    }
}
