using StableDiffusion.Native;

namespace StableDiffusion.Tests.Support;

/// <summary>
/// Every device a test can run on, as a <c>[TestFixtureSource]</c>: the processor at each instruction set, the CUDA kernels on the processor,
/// and the first GPU. One that this machine lacks is Ignored with the library's own reason.
/// </summary>
public static class TestDevices
{
    /// <summary>Fixture arguments: the device's name.</summary>
    public static IEnumerable<TestFixtureData> All => Names.Select(name => Fixture(name));

    /// <summary>Those that do not take minutes for a whole model: all but the emulated one.</summary>
    public static IEnumerable<TestFixtureData> Fast => Names.Where(name => name != Emulated).Select(name => Fixture(name));

    /// <summary>CUDA devices, emulated and real.</summary>
    public static IEnumerable<TestFixtureData> Cuda => [Fixture(Emulated), Fixture(Gpu)];

    /// <summary>Devices with the type that weights are stored in: processors in float32, CUDA devices in every type.</summary>
    public static IEnumerable<TestFixtureData> WithStorage =>
        from name in Names
        from storage in name.StartsWith("cuda", StringComparison.Ordinal) ? new[] { DType.Float32, DType.Float16, DType.BFloat16 } : [DType.Float32]
        select Fixture(name, storage);

    /// <summary>
    /// Processors in fast precision, with the type that weights are stored in: the best instruction set of this machine; AVX2, whose narrow panels
    /// let Winograd take convolutions of 16 channels, as the fixtures' models have; products of bfloat16 pairs, wherever they exist; and
    /// float16 weights, which machines with AVX512_FP16 multiply as such.
    /// </summary>
    public static IEnumerable<TestFixtureData> FastPrecision =>
    [
        Fixture("cpu", DType.Float32, Precision.Fast), Fixture("cpu", DType.BFloat16, Precision.Fast), Fixture("cpu:avx2", DType.Float32, Precision.Fast),
        Fixture("cpu:avx512bf16", DType.BFloat16, Precision.Fast), Fixture("cpu:avx512", DType.Float16, Precision.Fast),
    ];

    /// <summary>The names that open here.</summary>
    public static IEnumerable<string> Available => Names.Where(name => ReasonNotHere(name) is null);

    /// <summary>Whether this machine multiplies weights in <see cref="DType.Int8"/>.</summary>
    public static bool MultipliesBytes => Bytes.Value;

    /// <summary>The CUDA kernels on the processor.</summary>
    public const string Emulated = "cuda:emulated";

    /// <summary>The first GPU.</summary>
    public const string Gpu = "cuda:0";

    static string[] Names { get; } = ["cpu:portable", "cpu:avx2", "cpu:avx512", "cpu:avx512bf16", Emulated, Gpu];

    static Dictionary<string, string?> Reasons { get; } = [];

    static Lazy<bool> Bytes { get; } = new(() =>
    {
        if (ReasonNotHere("cpu:avx512") is not null)
        {
            return false;
        }
        using var device = Device.Open("cpu:avx512", 1);
        try
        {
            using var weight = Weight.Create(device, WeightKind.Matrix, DType.Int8, [new HostView(new byte[16], DType.Float32, [1, 4])]);
            return true;
        }
        catch (NotSupportedException)
        {
            return false;
        }
    });

    /// <summary>Fixture arguments that begin with a device's name.</summary>
    public static TestFixtureData Fixture(string name, params object[] others)
    {
        var data = new TestFixtureData([name, .. others]);
        return ReasonNotHere(name) is { } reason ? data.Ignore(reason) : data;
    }

    static string? ReasonNotHere(string name)
    {
        lock (Reasons)
        {
            if (!Reasons.TryGetValue(name, out string? reason))
            {
                Reasons[name] = reason = Try(name);
            }
            return reason;
        }
    }

    static string? Try(string name)
    {
        try
        {
            using var device = Device.Open(name);
            return null;
        }
        catch (DeviceNotFoundException e)
        {
            return e.Message;
        }
    }
}
