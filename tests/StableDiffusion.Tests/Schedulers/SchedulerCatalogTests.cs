using System.Text.Json;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Tests.Schedulers;

public class SchedulerCatalogTests
{
    static Scheduler StableDiffusion(string more = "")
    {
        using JsonDocument document = JsonDocument.Parse(
            $$"""{"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "skip_prk_steps": true, "steps_offset": 1{{more}}}""");
        return Scheduler.FromConfig(document.RootElement);
    }

    static IEnumerable<string> Names => Scheduler.Names;

    [TestCaseSource(nameof(Names))]
    public void Create_EveryName_TakesOverTheBetasAndRuns(string name)
    {
        Scheduler scheduler = Scheduler.Create(name, StableDiffusion());
        Assert.That(scheduler.Begin(10).Timesteps, Has.Count.GreaterThanOrEqualTo(10));
        if (scheduler is BetaScheduler beta)
        {
            Assert.That((beta.BetaStart, beta.BetaEnd, beta.BetaSchedule, beta.StepsOffset), Is.EqualTo((0.00085, 0.012, BetaSchedule.ScaledLinear, 1)));
        }
    }

    [TestCase("EulerAncestralDiscreteScheduler", typeof(EulerAncestralDiscreteScheduler))]
    [TestCase("EulerAncestralDiscrete", typeof(EulerAncestralDiscreteScheduler))]
    [TestCase("Euler a", typeof(EulerAncestralDiscreteScheduler))]
    [TestCase("euler A", typeof(EulerAncestralDiscreteScheduler))]
    [TestCase("euler_ancestral", typeof(EulerAncestralDiscreteScheduler))]
    [TestCase("PLMS", typeof(PNDMScheduler))]
    [TestCase("LMS", typeof(LMSDiscreteScheduler))]
    [TestCase("DDIM", typeof(DDIMScheduler))]
    [TestCase("Heun", typeof(HeunDiscreteScheduler))]
    [TestCase("DPM2", typeof(KDPM2DiscreteScheduler))]
    [TestCase("DPM2 a", typeof(KDPM2AncestralDiscreteScheduler))]
    [TestCase("DPM++ SDE", typeof(DPMSolverSinglestepScheduler))]
    [TestCase("UniPC", typeof(UniPCMultistepScheduler))]
    [TestCase("LCM", typeof(LCMScheduler))]
    [TestCase("TCD", typeof(TCDScheduler))]
    [TestCase("DDPM", typeof(DDPMScheduler))]
    public void Create_Name_GivesItsClass(string name, Type type) => Assert.That(Scheduler.Create(name), Is.TypeOf(type));

    [TestCase("DPM++ 2M", AlgorithmType.DpmSolverPlusPlus, 2, false)]
    [TestCase("DPM++ 2M Karras", AlgorithmType.DpmSolverPlusPlus, 2, true)]
    [TestCase("dpmpp_2m_sde_karras", AlgorithmType.SdeDpmSolverPlusPlus, 2, true)]
    [TestCase("DPM++ 3M SDE", AlgorithmType.SdeDpmSolverPlusPlus, 3, false)]
    public void Create_DpmName_SetsAlgorithmOrderAndSpacing(string name, AlgorithmType algorithm, int order, bool karras)
    {
        var scheduler = (DPMSolverMultistepScheduler)Scheduler.Create(name, StableDiffusion(""", "use_karras_sigmas": true"""));
        Assert.That((scheduler.AlgorithmType, scheduler.SolverOrder, scheduler.UseKarrasSigmas), Is.EqualTo((algorithm, order, karras)));
    }

    [Test]
    public void Create_SgmUniform_TakesTrailingSpacing() =>
        Assert.That(((BetaScheduler)Scheduler.Create("Euler SGM Uniform")).TimestepSpacing, Is.EqualTo(TimestepSpacing.Trailing));

    [Test]
    public void Create_SpacingOfTheModelsClassDefault_IsNotHandedOn() =>
        Assert.That(((BetaScheduler)Scheduler.Create("Euler", StableDiffusion())).TimestepSpacing, Is.EqualTo(TimestepSpacing.Linspace));

    [Test]
    public void Create_SpacingTheModelsConfigStates_IsHandedOn() =>
        Assert.That(
            ((BetaScheduler)Scheduler.Create("Euler", StableDiffusion(""", "timestep_spacing": "leading" """))).TimestepSpacing,
            Is.EqualTo(TimestepSpacing.Leading));

    [Test]
    public void Create_ModelChangedInCode_HandsOnTheChangeThroughAnotherClass()
    {
        Scheduler model = StableDiffusion() with { PredictionType = PredictionType.VPrediction };
        Scheduler there = Scheduler.Create("DDIM", model), back = Scheduler.Create("PLMS", there);
        Assert.That(there.PredictionType, Is.EqualTo(PredictionType.VPrediction));
        Assert.That(back, Is.EqualTo(model));
    }

    [Test]
    public void Create_UnknownName_ListsTheKnownOnes() =>
        Assert.That(
            () => Scheduler.Create("Euler b"),
            Throws.ArgumentException.With.Message.StartsWith("There is no scheduler 'Euler b'; there are PNDMScheduler,").And.Message.Contains("DPM++ 2M Karras"));

    [Test]
    public void Create_ModelThePredictionDoesNotFit_SaysSo() =>
        Assert.That(
            () => Scheduler.Create("Euler a", new DDIMScheduler { PredictionType = PredictionType.Sample }),
            Throws.ArgumentException.With.Message.Contains("prediction_type is sample"));
}
