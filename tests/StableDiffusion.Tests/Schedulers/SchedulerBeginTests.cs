using StableDiffusion.Schedulers;

namespace StableDiffusion.Tests.Schedulers;

public class SchedulerBeginTests
{
    static IEnumerable<string> Names => Scheduler.Names;

    static Scheduler StableDiffusion(string name) => Scheduler.Create(
        name, new PNDMScheduler { BetaStart = 0.00085, BetaEnd = 0.012, BetaSchedule = BetaSchedule.ScaledLinear, StepsOffset = 1, SkipPrkSteps = true });

    [TestCaseSource(nameof(Names))]
    public void Begin_AnyNumberOfSteps_KeepsNoiseFinite(string name)
    {
        Scheduler scheduler = StableDiffusion(name);
        int most = scheduler is ConsistencyScheduler ? 50 : 300;
        foreach (int steps in new[] { 1, 2, 3, 4, 5, 7, 10, 14, 15, 16, 25, 50, 61, 100, 300 }.Where(steps => steps <= most))
        {
            SchedulerRun run = scheduler.Begin(steps);
            float[] sample = Run(run);
            Assert.That(sample, Has.All.Matches<float>(float.IsFinite), $"{steps} steps");
            Assert.That(run.Timesteps, Has.All.InRange(-2f, 999f), $"{steps} steps");
        }
    }

    [TestCaseSource(nameof(Names))]
    public void Begin_InTheMiddle_KeepsNoiseFinite(string name)
    {
        Scheduler scheduler = StableDiffusion(name);
        for (double strength = 0.1; strength <= 1; strength += 0.1)
        {
            int first = SchedulerStart.FirstCallFor(20, strength, scheduler.Order);
            Assert.That(Run(scheduler.Begin(20, new SchedulerStart { FirstCall = first })), Has.All.Matches<float>(float.IsFinite), $"strength {strength}");
        }
    }

    [TestCase(0)]
    [TestCase(-3)]
    [TestCase(1001)]
    public void Begin_ImpossibleSteps_NamesTheRange(int steps) =>
        Assert.That(() => new DDIMScheduler().Begin(steps), Throws.ArgumentException.With.Message.Contains($"{steps}").And.Message.Contains("1 to 1000"));

    [TestCase(-1)]
    [TestCase(10)]
    public void Begin_FirstCallOutsideTheSchedule_NamesTheRange(int first) =>
        Assert.That(
            () => new DDIMScheduler().Begin(10, new SchedulerStart { FirstCall = first }),
            Throws.ArgumentException.With.Message.Contains("calls 0 to 9"));

    [Test]
    public void Begin_TimestepBeyondTraining_SaysSo() =>
        Assert.That(
            () => new DDIMScheduler { StepsOffset = 1 }.Begin(1000), Throws.ArgumentException.With.Message.Contains("timestep 1000").And.Message.Contains("fewer steps"));

    [Test]
    public void Begin_NoSignalWithEpsilon_NamesThePredictionThatWorks() =>
        Assert.That(
            () => new DDIMScheduler { RescaleBetasZeroSnr = true, TimestepSpacing = TimestepSpacing.Trailing }.Begin(10),
            Throws.ArgumentException.With.Message.Contains("v_prediction"));

    [Test]
    public void Begin_CoincidingNoiseLevels_SaysSo() =>
        Assert.That(() => new DPMSolverMultistepScheduler().Begin(1000), Throws.ArgumentException.With.Message.Contains("coincide"));

    [Test]
    public void Begin_PndmWithTooFewRungeKuttaSteps_SaysHowMany() =>
        Assert.That(() => new PNDMScheduler().Begin(3), Throws.ArgumentException.With.Message.Contains("at least 4"));

    [Test]
    public void Begin_ConsistencyBeyondDistillation_SaysHowMany() =>
        Assert.That(() => new LCMScheduler().Begin(51), Throws.ArgumentException.With.Message.Contains("at most 50"));

    /// <summary>numpy.arange(1000, 0, -1000 / 61) has 62 entries by rounding; the last would be timestep -1.</summary>
    [Test]
    public void Begin_TrailingWith61Steps_Has61Timesteps()
    {
        SchedulerRun run = new DDIMScheduler { TimestepSpacing = TimestepSpacing.Trailing }.Begin(61);
        Assert.That(run.Timesteps, Has.Count.EqualTo(61).And.All.GreaterThanOrEqualTo(0));
    }

    [TestCase("EulerDiscrete")]
    [TestCase("HeunDiscrete")]
    [TestCase("DPMSolverMultistep")]
    [TestCase("DPMSolverSinglestep")]
    [TestCase("DDPM")]
    [TestCase("LCM")]
    [TestCase("TCD")]
    public void Begin_TheOwnTimestepsGiven_ChangesNothing(string name)
    {
        Scheduler scheduler = StableDiffusion(name);
        SchedulerRun own = scheduler.Begin(8);
        double[] timesteps = [.. own.Timesteps.Distinct().Select(t => (double)t)];
        SchedulerRun given = scheduler.Begin(8, new SchedulerStart { Timesteps = timesteps });
        Assert.That(given.Timesteps, Is.EqualTo(own.Timesteps));
        Assert.That(Run(given), Is.EqualTo(Run(own)));
    }

    [Test]
    public void Begin_EulerWithAlignYourStepsSigmas_VisitsThem()
    {
        SchedulerRun run = StableDiffusion("Euler").Begin(10, new SchedulerStart { Sigmas = AlignYourSteps.StableDiffusionSigmas });
        Assert.That(run.Sigmas, Is.EqualTo(AlignYourSteps.StableDiffusionSigmas.Select(sigma => (float)sigma)));
        // The published timesteps were rounded from these levels.
        Assert.That(run.Timesteps.Zip(AlignYourSteps.StableDiffusionTimesteps, (t, published) => Math.Abs(t - published)), Has.All.LessThan(2));
    }

    static IEnumerable<TestCaseData> BadStarts()
    {
        double[] nine = [900, 800, 700, 600, 500, 400, 300, 200, 100];
        yield return new(new DDIMScheduler(), new SchedulerStart { Timesteps = nine }, "does not take timesteps");
        yield return new(new EulerDiscreteScheduler { UseKarrasSigmas = true }, new SchedulerStart { Timesteps = nine }, "does not take timesteps");
        yield return new(new DDPMScheduler(), new SchedulerStart { Sigmas = [2, 1, 0] }, "does not take sigmas");
        yield return new(new DDPMScheduler(), new SchedulerStart { Timesteps = nine[1..] }, "as many as there are steps");
        yield return new(new DDPMScheduler(), new SchedulerStart { Timesteps = [1000, .. nine[1..]] }, "0 to 999");
        yield return new(new DDPMScheduler(), new SchedulerStart { Timesteps = [.. nine.Reverse()] }, "must descend");
        yield return new(new EulerDiscreteScheduler(), new SchedulerStart { Sigmas = [9, 8, 7, 6, 5, 4, 3, 2, 1, -1] }, "Sigmas must descend");
        yield return new(new DDIMScheduler(), new SchedulerStart { Eta = 1.5 }, "Eta is 1.5");
        yield return new(new DDIMScheduler(), new SchedulerStart { Eta = double.NaN }, "0 to 1");
    }

    [TestCaseSource(nameof(BadStarts))]
    public void Begin_StartThatDoesNotFit_SaysWhy(Scheduler scheduler, SchedulerStart start, string expected) =>
        Assert.That(() => scheduler.Begin(9, start), Throws.ArgumentException.With.Message.Contains(expected));

    /// <summary>Runs a schedule on eight numbers with a model that finds a fifth of its input to be noise.</summary>
    static float[] Run(SchedulerRun run)
    {
        float[] noise = [1, -1, 0.5f, -0.5f, 0.1f, 2, -2, 0];
        var ops = new HostStepOps(1);
        using var executor = new StepExecutor<float[]>(ops);
        float[] sample = Array.ConvertAll(noise, value => (float)(value * run.InitNoiseSigma));
        for (int call = run.FirstCall; call < run.Timesteps.Count; call++)
        {
            float[] output = Array.ConvertAll(sample, value => (float)(0.2 * value * run.InputScale(call)));
            executor.Execute(run.Step(call), sample, output, noise);
        }
        return sample;
    }
}
