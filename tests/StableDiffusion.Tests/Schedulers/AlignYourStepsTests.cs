using StableDiffusion.Schedulers;

namespace StableDiffusion.Tests.Schedulers;

/// <summary>
/// The Align Your Steps schedules at any number of steps. Expected values: numpy.interp over the logarithms of diffusers' AysSchedules with the
/// smallest noise level 0.029 at the end, and timesteps by numpy.interp over the logarithms of scaled_linear's noise levels.
/// </summary>
public class AlignYourStepsTests
{
    [TestCase(false, new[] { 999d, 850, 736, 645, 545, 455, 343, 233, 124, 24 })]
    [TestCase(true, new[] { 999d, 845, 730, 587, 443, 310, 193, 116, 53, 13 })]
    [TestCase(false, new[] { 999d, 692, 455, 174 })]
    [TestCase(true, new[] { 999d, 661, 310, 80 })]
    [TestCase(false, new[] { 999d, 903, 814, 736, 677, 613, 545, 486, 418, 343, 268, 192, 125, 44, 8 })]
    [TestCase(true, new[] { 999d, 926, 845, 790, 730, 661, 587, 517, 443, 376, 310, 248, 193, 151, 116, 80, 53, 27, 13, 3 })]
    public void Timesteps_AnyNumber_IsThePapersLine(bool xl, double[] expected)
        => Assert.That(AlignYourSteps.Timesteps(expected.Length, xl), Is.EqualTo(expected));

    [TestCase(false, new[] { 14.615, 3.2269, 1.396, 0.51, 0 })]
    [TestCase(true, new[] { 14.615, 2.8678, 0.862, 0.2982, 0 })]
    public void Sigmas_FourSteps_IsThePapersLine(bool xl, double[] expected)
        => Assert.That(AlignYourSteps.Sigmas(4, xl), Is.EqualTo(expected).Within(5e-5));

    [Test]
    public void Timesteps_UpToTheMost_NeverRepeat([Values] bool xl)
    {
        for (int steps = 1; steps <= AlignYourSteps.MaxSteps; steps++)
        {
            IReadOnlyList<double> timesteps = AlignYourSteps.Timesteps(steps, xl);
            Assert.That(timesteps, Has.Count.EqualTo(steps).And.Ordered.Descending.And.Unique);
            Assert.That(new EulerDiscreteScheduler().Begin(steps, new SchedulerStart { Timesteps = timesteps }).Timesteps, Has.Count.EqualTo(steps));
        }
    }

    [TestCase(0)]
    [TestCase(AlignYourSteps.MaxSteps + 1)]
    public void Timesteps_OtherNumbers_AreRefused(int steps)
        => Assert.That(() => AlignYourSteps.Timesteps(steps, xl: false), Throws.ArgumentException.With.Message.Contains($"not {steps}"));
}
