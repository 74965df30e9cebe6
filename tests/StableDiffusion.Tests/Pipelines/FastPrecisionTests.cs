using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>What <see cref="Precision.Fast"/> and rounded weights do to a picture of the built-in model, as a peak signal-to-noise ratio against reference precision in float32.</summary>
public sealed class FastPrecisionTests
{
    private static readonly Lazy<byte[]> Reference = new(() => Draw("cpu", Precision.Reference, DType.Float32));

    // An error of one of 255 levels in every value is 48 dB, one in sixteen values 60 dB: nobody sees it. 35 dB is an error of 4.5 levels, root mean square, 30 dB of 8.
    [TestCase("cpu", Precision.Fast, DType.Float32, 60)]
    [TestCase("cpu", Precision.Fast, DType.BFloat16, 35)]
    [TestCase("cpu", Precision.Reference, DType.BFloat16, 35)]
    [TestCase("cpu:avx512bf16", Precision.Fast, DType.BFloat16, 35)]
    [TestCase("cpu:avx512", Precision.Fast, DType.BFloat16, 35)]
    [TestCase("cpu:avx512", Precision.Fast, DType.Float16, 35)]
    [TestCase("cpu:avx512", Precision.Reference, DType.Int8, 30)]
    [TestCase("cpu:avx512", Precision.Fast, DType.Int8, 30)]
    public void Generate_FastPrecision_GivesThePictureOfTheReference(string device, Precision precision, DType dtype, double decibels)
    {
        Assume.That(device == "cpu" || TestDevices.Available.Contains(device), "this machine has no such instruction set");
        Assume.That(dtype != DType.Int8 || TestDevices.MultipliesBytes, "this machine has no AVX512_VNNI");
        byte[] reference = Reference.Value, fast = Draw(device, precision, dtype);
        double squares = reference.Zip(fast, (a, b) => Math.Pow(a - b, 2)).Average();
        double ratio = squares == 0 ? double.PositiveInfinity : 10 * Math.Log10(255 * 255 / squares);
        TestContext.Out.WriteLine($"{ratio:F1} dB");
        Assert.That(ratio, Is.GreaterThanOrEqualTo(decibels));
    }

    [Test]
    public void Open_FastPrecision_IsToldByTheDevice()
    {
        using Device fast = Device.Open("cpu", 1, Precision.Fast), reference = Device.Open("cpu", 1);
        Assert.That(fast.Info.Precision, Is.EqualTo(Precision.Fast));
        Assert.That(reference.Info.Precision, Is.EqualTo(Precision.Reference));
    }

    private static byte[] Draw(string name, Precision precision, DType dtype)
    {
        using Device device = Device.Open(name, 0, precision);
        using var pipeline = StableDiffusionPipeline.Load(ModelFolder.BuiltIn, device, new LoadOptions { WeightDType = dtype });
        using GenerationResult result = pipeline.Generate(new("a large red star on a blue background") { Steps = 20, Seed = 7, Width = 256, Height = 256 });
        return result.Images[0].Pixels.ToArray();
    }
}
