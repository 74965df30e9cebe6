using System.Collections.Concurrent;
using System.Text.Json;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>
/// The pictures of the runs under <c>e2e/</c> with faster arithmetic or rounded weights, against those of reference precision in float32 with the same
/// noise, as a peak signal-to-noise ratio over all pictures of a run.
/// </summary>
[TestFixtureSource(nameof(Devices))]
public sealed class FastPictureTests(string deviceName, DType storage, Precision precision, double decibels)
{
    private static readonly ConcurrentDictionary<string, byte[]> References = new();

    private readonly Dictionary<string, StableDiffusionPipeline> _pipelines = [];

    private Device? _device;

    // An error of one of 255 levels in every value is 48 dB, one in sixteen values 60 dB: nobody sees it. 35 dB is an error of 4.5 levels, root mean square.
    private static IEnumerable<TestFixtureData> Devices =>
    [
        TestDevices.Fixture("cpu", DType.Float32, Precision.Fast, 60.0), TestDevices.Fixture("cpu:avx2", DType.Float32, Precision.Fast, 60.0),
        TestDevices.Fixture("cpu", DType.BFloat16, Precision.Reference, 35.0), TestDevices.Fixture("cpu:avx512bf16", DType.BFloat16, Precision.Fast, 35.0),
        TestDevices.Fixture("cpu:avx512", DType.Float16, Precision.Fast, 35.0), TestDevices.Fixture("cpu:avx512", DType.BFloat16, Precision.Fast, 35.0),
        TestDevices.Fixture("cpu:avx512", DType.Int8, Precision.Fast, 30.0),
    ];

    private static IEnumerable<TestCaseData> Cases() => Directory.EnumerateFiles(Fixtures.PathOf("e2e"), "*.json").Order()
        .Select(path => new TestCaseData(Path.GetFileNameWithoutExtension(path)).SetArgDisplayNames(Path.GetFileNameWithoutExtension(path)));

    [OneTimeSetUp]
    public void Open()
    {
        Assume.That(storage != DType.Int8 || TestDevices.MultipliesBytes, "this machine has no AVX512_VNNI");
        _device = Device.Open(deviceName, 0, precision);
    }

    [OneTimeTearDown]
    public void Close()
    {
        foreach (StableDiffusionPipeline pipeline in _pipelines.Values)
        {
            pipeline.Dispose();
        }
        _device?.Dispose();
    }

    [TestCaseSource(nameof(Cases))]
    public void Generate_FixtureCase_GivesThePictureOfTheReference(string name)
    {
        JsonElement doc = Fixtures.ReadJson("e2e", name + ".json");
        GenerationRequest request = FixtureRequests.ReadEndToEnd(doc, Fixtures.ReadTensors("e2e", name + ".safetensors"));
        string family = doc.GetProperty("family").GetString()!;
        if (!_pipelines.TryGetValue(family, out StableDiffusionPipeline? pipeline))
        {
            _pipelines[family] = pipeline = Load(family, _device!, storage);
        }
        byte[] actual = Pictures(pipeline, request), expected = References.GetOrAdd(name, _ =>
        {
            using Device device = Device.Open("cpu");
            using StableDiffusionPipeline reference = Load(family, device, DType.Float32);
            return Pictures(reference, request);
        });
        double squares = actual.Zip(expected, (a, b) => Math.Pow(a - b, 2)).Average();
        double ratio = squares == 0 ? double.PositiveInfinity : 10 * Math.Log10(255 * 255 / squares);
        TestContext.Out.WriteLine($"{ratio:F1} dB");
        Assert.That(ratio, Is.GreaterThanOrEqualTo(decibels));
    }

    private static StableDiffusionPipeline Load(string family, Device device, DType dtype) =>
        StableDiffusionPipeline.Load(Fixtures.PathOf("models", family), device, new LoadOptions { WeightDType = dtype });

    private static byte[] Pictures(StableDiffusionPipeline pipeline, GenerationRequest request)
    {
        using GenerationResult result = pipeline.Generate(request);
        return [.. result.Images.SelectMany(image => image.Pixels.ToArray())];
    }
}
