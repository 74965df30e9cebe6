using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Weights;

/// <summary>Made-up weights: any shape, repeatable, of the right size.</summary>
public class RandomWeightSourceTests
{
    [Test]
    public void ReadTensor_TwoSources_GiveTheSameValuesForTheSameSeedAndName()
    {
        float[] first = Values(1, "a.weight", 33, 7);
        float[] again = Values(1, "a.weight", 33, 7);
        Assert.Multiple(() =>
        {
            Assert.That(again, Is.EqualTo(first));
            Assert.That(Values(2, "a.weight", 33, 7), Is.Not.EqualTo(first));
            Assert.That(Values(1, "b.weight", 33, 7), Is.Not.EqualTo(first));
        });
    }

    /// <summary>
    /// Mean, deviation and kurtosis of 2^18 values. Limits are five standard errors of an independent normal sample for mean and
    /// deviation; an Irwin-Hall sum of four has kurtosis 3 - 1.2/4 = 2.7 where a normal number has 3.
    /// </summary>
    [TestCase(WeightDType.Float32)]
    [TestCase(WeightDType.Float16)]
    [TestCase(WeightDType.BFloat16)]
    public void ReadTensor_Matrix_IsAboutNormalWithFanInDeviation(WeightDType dtype)
    {
        const int FanIn = 64 * 9;
        using RandomWeightSource source = new(3, dtype);
        using HostTensor tensor = new WeightScope(source)["conv"].ReadTensor("weight", 456, 64, 3, 3);
        double[] z = [.. tensor.ToArray().Select(v => v * Math.Sqrt(FanIn))];
        double mean = z.Average();
        double variance = z.Average(v => (v - mean) * (v - mean));
        double kurtosis = z.Average(v => Math.Pow(v - mean, 4)) / (variance * variance);
        double neighbours = z.Zip(z.Skip(1), (a, b) => a * b).Average();
        double error = 5 / Math.Sqrt(z.Length);
        Assert.Multiple(() =>
        {
            Assert.That(tensor.DType, Is.EqualTo(dtype));
            Assert.That(mean, Is.EqualTo(0).Within(error));
            Assert.That(Math.Sqrt(variance), Is.EqualTo(1).Within(error));
            Assert.That(kurtosis, Is.EqualTo(2.7).Within(0.03));
            Assert.That(neighbours, Is.EqualTo(0).Within(error), "correlation of neighbours");
        });
    }

    [Test]
    public void ReadTensor_Vectors_AreNormScalesAroundOneAndSmallBiases()
    {
        float[] scale = Values(0, "norm.weight", 4096);
        float[] bias = Values(0, "norm.bias", 4096);
        Assert.Multiple(() =>
        {
            Assert.That(scale.Average(), Is.EqualTo(1).Within(0.01));
            Assert.That(scale.Min(), Is.GreaterThan(0.8f));
            Assert.That(bias.Average(), Is.EqualTo(0).Within(0.01));
            Assert.That(bias.Max(Math.Abs), Is.LessThan(0.08f));
        });
    }

    [Test]
    public void Scope_OverRandomWeights_HasEverythingAndOwesNothing()
    {
        using RandomWeightSource source = new();
        WeightScope scope = new(source);
        Assert.Multiple(() =>
        {
            Assert.That(scope["any"].Exists, Is.True);
            Assert.That(scope.Has("any.weight"), Is.True);
            Assert.That(scope.FirstOf("to_q", "query").Path, Is.EqualTo("to_q"));
            Assert.That(() => scope.ThrowIfUnread(), Throws.Nothing);
        });
    }

    [Test]
    public void Constructor_OtherDType_IsRefused()
        => Assert.That(() => new RandomWeightSource(0, WeightDType.Float64), Throws.TypeOf<ArgumentOutOfRangeException>());

    private static float[] Values(ulong seed, string name, params long[] shape)
    {
        using RandomWeightSource source = new(seed);
        using HostTensor tensor = new WeightScope(source).ReadTensor(name, shape);
        return tensor.ToArray();
    }
}
