using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>Timesteps and noise levels of one's own in a request.</summary>
public class CustomScheduleTests
{
    private static readonly double[] Chosen = [999, 700, 400, 100];

    private StableDiffusionPipeline pipe = null!;

    [OneTimeSetUp]
    public void Load() => pipe = StableDiffusionPipeline.Load(Fixtures.PathOf("models", "sd1"), Device.Auto);

    [OneTimeTearDown]
    public void Dispose() => pipe.Dispose();

    [Test]
    public void Generate_Timesteps_VisitsThemAndSaysSo()
    {
        var seen = new List<float>();
        using GenerationResult result = pipe.Generate(Request("DPM++ 2M") with { Timesteps = Chosen, StepEnd = step => seen.Add(step.Timestep) });
        Assert.Multiple(() =>
        {
            Assert.That(seen.TakeLast(4), Is.EqualTo(Chosen.Select(t => (float)t)));
            Assert.That(result.Parameters[0].Steps, Is.EqualTo(4));
            Assert.That(result.Parameters[0].ToString(), Does.Contain("Timesteps: 999 700 400 100"));
        });
    }

    [Test]
    public void Generate_TheSchedulersOwnSigmas_DrawTheSame()
    {
        var euler = (EulerDiscreteScheduler)Scheduler.Create("Euler", pipe.Components.Scheduler as Scheduler);
        double[] own = [.. euler.Begin(4).Sigmas.Select(sigma => (double)sigma)];
        using GenerationResult given = pipe.Generate(Request("Euler") with { Sigmas = own });
        using GenerationResult computed = pipe.Generate(Request("Euler") with { Steps = 4 });
        Assert.That(given.Parameters[0].ToString(), Does.Contain("Sigmas: "));
        Assert.That(given.Latents.Values.ToArray(), Is.EqualTo(computed.Latents.Values.ToArray()).Within(1e-4f)); // The timesteps come back from the levels with rounding.
    }

    [TestCase("DDIM")]
    [TestCase("PLMS")]
    [TestCase("LMS")]
    [TestCase("Euler a")]
    [TestCase("DPM2")]
    [TestCase("UniPC")]
    [TestCase("DEIS")]
    [TestCase("EDM Euler")]
    [TestCase("DPM++ 2M Karras")]
    public void Generate_TimestepsForASchedulerThatTakesNone_IsRefusedByName(string scheduler)
        => Assert.That(() => pipe.Generate(Request(scheduler) with { Timesteps = Chosen }), Throws.ArgumentException.With.Message.Contains("does not take timesteps of one's own"));

    // As set_timesteps of diffusers 0.40: these have the argument.
    [TestCase("DDPM")]
    [TestCase("LCM")]
    [TestCase("TCD")]
    [TestCase("Heun")]
    [TestCase("DPM++ 2M")]
    [TestCase("DPM++ 2S")]
    [TestCase("Euler")]
    public void Begin_TimestepsForASchedulerThatTakesThem_AreItsOwn(string scheduler)
        => Assert.That(Scheduler.Create(scheduler).Begin(4, new SchedulerStart { Timesteps = [999, 699, 399, 99] }).Timesteps.Distinct(), Is.EqualTo(new[] { 999f, 699, 399, 99 }));

    [TestCase("DPM++ 2M")]
    [TestCase("UniPC")]
    [TestCase("EDM Euler")]
    public void Generate_SigmasForASchedulerThatTakesNone_IsRefusedByName(string scheduler)
        => Assert.That(() => pipe.Generate(Request(scheduler) with { Sigmas = [14, 3, 0] }), Throws.ArgumentException.With.Message.Contains("does not take sigmas of one's own"));

    [TestCase(new double[0], null, "the list is empty")]
    [TestCase(new[] { 100d, 200 }, null, "must descend")]
    [TestCase(new[] { 1000d, 200 }, null, "0 to 999")]
    [TestCase(null, new[] { 3d }, "at least two")]
    [TestCase(null, new[] { 3d, 4 }, "must descend")]
    [TestCase(new[] { 100d }, new[] { 3d, 0 }, "not both")]
    public void Generate_ListsThatCannotBe_AreRefused(double[]? timesteps, double[]? sigmas, string message)
        => Assert.That(() => pipe.Generate(Request("Euler") with { Timesteps = timesteps, Sigmas = sigmas }), Throws.ArgumentException.With.Message.Contains(message));

    private GenerationRequest Request(string scheduler) => new("a cat")
    {
        Scheduler = Scheduler.Create(scheduler, pipe.Components.Scheduler as Scheduler),
        Seed = 1,
        Width = 64,
        Height = 64,
        LatentsOnly = true,
    };
}
