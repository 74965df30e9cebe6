using System.Text.Json;
using StableDiffusion.Random;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>
/// Draws of PyTorch's CPU generator against <c>rng/</c>: every recorded single draw, sequence and other dtype. The limit of float32
/// is the fixture's <c>tolerance_abs</c>. float16 and bfloat16 draws have no limit stored; they must be equal, since their coarse
/// grid hides the last place of the functions behind them.
/// </summary>
[Category("Parity")]
public class RandomParityTests
{
    /// <summary>
    /// float64 draws differ only by the last places of log, sin and cos in the C library: a few units of 2^-53 relative to values
    /// below 8.6 (the largest a 53-bit uniform gives).
    /// </summary>
    private const double Float64Limit = 1e-14;

    private static readonly Lazy<TensorFile> Tensors = new(() => Fixtures.ReadTensors("rng", "rng.safetensors"));

    private static IEnumerable<TestCaseData> Single()
        => Cases("single", c => $"seed{c.GetProperty("seed")} {Shape(c)}");

    private static IEnumerable<TestCaseData> Sequences()
        => Cases("sequences", c => $"seed{c.GetProperty("seed")} [{string.Join(", ", c.GetProperty("sizes").EnumerateArray())}]");

    private static IEnumerable<TestCaseData> OtherDTypes()
        => Cases("other_dtypes", c => $"seed{c.GetProperty("seed")} {c.GetProperty("call")} {DType(c)} {Shape(c)}");

    [TestCaseSource(nameof(Single))]
    public void Normal_SingleDraw_EqualsTorchRandn(JsonElement draw)
    {
        TestTensor expected = Tensors.Value[draw.GetProperty("tensor").GetString()!];
        float[] actual = new float[expected.Length];
        Generator(draw).Normal(actual);
        Tolerances.AssertAbsoluteError(actual, expected.ToSingle(), expected.Shape, draw.GetProperty("tolerance_abs").GetDouble(), expected.Name);
    }

    [TestCaseSource(nameof(Sequences))]
    public void Normal_SuccessiveDraws_EqualTorchRandn(JsonElement sequence)
    {
        double limit = sequence.GetProperty("tolerance_abs").GetDouble();
        TorchCpuGenerator generator = Generator(sequence);
        foreach (JsonElement name in sequence.GetProperty("tensors").EnumerateArray())
        {
            TestTensor expected = Tensors.Value[name.GetString()!];
            float[] actual = new float[expected.Length];
            generator.Normal(actual);
            Tolerances.AssertAbsoluteError(actual, expected.ToSingle(), expected.Shape, limit, expected.Name);
        }
    }

    [TestCaseSource(nameof(OtherDTypes))]
    public void Draw_OtherDTypes_EqualTorch(JsonElement draw)
    {
        TestTensor expected = Tensors.Value[draw.GetProperty("tensor").GetString()!];
        TorchCpuGenerator generator = Generator(draw);
        switch ((draw.GetProperty("call").GetString(), DType(draw)))
        {
            case ("rand", "float32"):
                float[] uniform = new float[expected.Length];
                generator.Uniform(uniform);
                Tolerances.AssertEqual<float>(uniform, expected.As<float>(), expected.Shape, expected.Name);
                break;
            case ("randn", "float16"):
                Half[] halves = new Half[expected.Length];
                generator.Normal(halves);
                Tolerances.AssertEqual<Half>(halves, expected.As<Half>(), expected.Shape, expected.Name);
                break;
            case ("randn", "bfloat16"):
                ushort[] bits = new ushort[expected.Length];
                generator.NormalBFloat16(bits);
                Tolerances.AssertEqual<ushort>(bits, expected.As<ushort>(), expected.Shape, expected.Name);
                break;
            case ("randn", "float64"):
                double[] doubles = new double[expected.Length];
                generator.Normal(doubles);
                Assert.That(doubles, Is.EqualTo(expected.As<double>()).Within(Float64Limit), expected.Name);
                break;
            default:
                Assert.Fail($"There is no {draw.GetProperty("call")} in {DType(draw)}.");
                break;
        }
    }

    private static IEnumerable<TestCaseData> Cases(string list, Func<JsonElement, string> name)
        => Fixtures.ReadJson("rng", "rng.json").GetProperty(list).EnumerateArray().Select(c => new TestCaseData(c).SetArgDisplayNames(name(c)));

    private static TorchCpuGenerator Generator(JsonElement draw) => new(draw.GetProperty("seed").GetUInt64());

    private static string Shape(JsonElement draw) => string.Join("x", draw.GetProperty("shape").EnumerateArray());

    private static string DType(JsonElement draw) => draw.TryGetProperty("dtype", out JsonElement dtype) ? dtype.GetString()! : "float32";
}
