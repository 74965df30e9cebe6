using StableDiffusion.Schedulers;

namespace StableDiffusion.Tests.Schedulers;

public class SymmetricBetaTests
{
    static IEnumerable<double> Probabilities => [0, 1e-9, 0.001, 0.1, 1.0 / 3, 0.5, 0.7, 0.999, 1];

    /// <summary>With both shapes 1 the distribution is uniform.</summary>
    [TestCaseSource(nameof(Probabilities))]
    public void Quantile_ShapeOne_IsTheProbability(double p) => Assert.That(SymmetricBeta.Quantile(p, 1), Is.EqualTo(p).Within(1e-13));

    /// <summary>With both shapes 1/2 it is the arcsine law: sin^2(pi p / 2).</summary>
    [TestCaseSource(nameof(Probabilities))]
    public void Quantile_ShapeHalf_IsTheArcsineLaw(double p) =>
        Assert.That(SymmetricBeta.Quantile(p, 0.5), Is.EqualTo(Math.Pow(Math.Sin(Math.PI * p / 2), 2)).Within(1e-13));

    /// <summary>Between the two, by shape.</summary>
    [TestCase(0.2)]
    [TestCase(0.01)]
    public void Quantile_Shape06_LiesBetweenArcsineAndUniform(double p) =>
        Assert.That(SymmetricBeta.Quantile(p, 0.6), Is.GreaterThan(SymmetricBeta.Quantile(p, 0.5)).And.LessThan(p));
}
