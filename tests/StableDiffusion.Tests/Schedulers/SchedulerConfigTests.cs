using System.Text.Json;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Schedulers;

public class SchedulerConfigTests
{
    static Scheduler Read(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return Scheduler.FromConfig(document.RootElement);
    }

    static Scheduler LoadText(string text)
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Guid.NewGuid():N}.json");
        try
        {
            File.WriteAllText(path, text);
            return Scheduler.Load(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [TestCase("sd1", typeof(PNDMScheduler), PredictionType.Epsilon, TimestepSpacing.Leading)]
    [TestCase("sd2", typeof(DDIMScheduler), PredictionType.VPrediction, TimestepSpacing.Leading)]
    [TestCase("sdxl", typeof(EulerDiscreteScheduler), PredictionType.Epsilon, TimestepSpacing.Leading)]
    public void Load_FixtureModel_ReadsClassAndOptions(string family, Type type, PredictionType prediction, TimestepSpacing spacing)
    {
        Scheduler scheduler = Scheduler.Load(Fixtures.PathOf("models", family, "scheduler"));
        Assert.That(scheduler, Is.TypeOf(type));
        var beta = (BetaScheduler)scheduler;
        Assert.Multiple(() =>
        {
            Assert.That(beta.PredictionType, Is.EqualTo(prediction));
            Assert.That(beta.TimestepSpacing, Is.EqualTo(spacing));
            Assert.That(beta.BetaSchedule, Is.EqualTo(BetaSchedule.ScaledLinear));
            Assert.That((beta.BetaStart, beta.BetaEnd, beta.StepsOffset), Is.EqualTo((0.00085, 0.012, 1)));
        });
    }

    [Test]
    public void Load_BareInfinityAsPythonWritesIt_IsRead()
    {
        var scheduler = (DPMSolverMultistepScheduler)LoadText(
            """{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "note": "NaN and \" -Infinity"}""");
        Assert.That(scheduler.LambdaMinClipped, Is.EqualTo(double.NegativeInfinity));
    }

    [Test]
    public void Read_NullAndUnknownKeys_LeaveDefaults() =>
        Assert.That(
            Read("""{"_class_name": "DDIMScheduler", "_diffusers_version": "0.6.0", "trained_betas": null, "clip_sample": null, "some_new_key": [1]}"""),
            Is.EqualTo(new DDIMScheduler()));

    [Test]
    public void Read_NamesThatNeedSpelling_AreRead()
    {
        var scheduler = (DPMSolverMultistepScheduler)Read(
            """{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "solver_type": "bh2", "beta_schedule": "squaredcos_cap_v2"}""");
        Assert.That(
            (scheduler.AlgorithmType, scheduler.SolverType, scheduler.BetaSchedule),
            Is.EqualTo((AlgorithmType.SdeDpmSolverPlusPlus, SolverType.Bh2, BetaSchedule.SquaredCosCapV2)));
    }

    [TestCase("""[]""", "must be a JSON object")]
    [TestCase("""{"beta_start": 0.1}""", "_class_name")]
    [TestCase("""{"_class_name": "FlowMatchEulerDiscreteScheduler"}""", "FlowMatchEulerDiscreteScheduler is not supported; there are PNDMScheduler,")]
    [TestCase("""{"_class_name": "PNDMScheduler", "timestep_spacing": "uniform"}""", "timestep_spacing is \"uniform\"; it must be one of \"linspace\", \"leading\", \"trailing\"")]
    [TestCase("""{"_class_name": "PNDMScheduler", "steps_offset": "one"}""", "steps_offset is \"one\"; it must be a whole number")]
    [TestCase("""{"_class_name": "PNDMScheduler", "skip_prk_steps": 1}""", "skip_prk_steps is 1; it must be true or false")]
    [TestCase("""{"_class_name": "PNDMScheduler", "prediction_type": "sample"}""", "prediction_type is sample")]
    [TestCase("""{"_class_name": "PNDMScheduler", "trained_betas": [0.1, "x"]}""", "trained_betas is [0.1,\"x\"]; it must be a list of numbers")]
    [TestCase("""{"_class_name": "PNDMScheduler", "trained_betas": [0.1]}""", "trained_betas has 1 entries")]
    [TestCase("""{"_class_name": "PNDMScheduler", "beta_end": 1.5}""", "beta_end 1.5")]
    [TestCase("""{"_class_name": "PNDMScheduler", "num_train_timesteps": 0}""", "num_train_timesteps is 0")]
    [TestCase("""{"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true, "use_beta_sigmas": true}""", "only one of")]
    [TestCase("""{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}""", "set it to sigma_min")]
    [TestCase("""{"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": true}""", "flow matching")]
    [TestCase("""{"_class_name": "DPMSolverMultistepScheduler", "variance_type": "learned"}""", "predicts its variance")]
    [TestCase("""{"_class_name": "DDPMScheduler", "variance_type": "learned_range"}""", "variance_type must be")]
    [TestCase("""{"_class_name": "LCMScheduler", "original_inference_steps": 2000}""", "original_inference_steps is 2000")]
    [TestCase("""{"_class_name": "EDMEulerScheduler", "sigma_min": -1}""", "sigma_min")]
    public void Read_UnsupportedConfig_SaysWhatAndWhatWouldDo(string json, string expected) =>
        Assert.That(() => Read(json), Throws.InstanceOf<InvalidDataException>().With.Message.Contains(expected).And.Message.Not.Contains("\n"));

    [Test]
    public void Load_BrokenFile_NamesTheFile() =>
        Assert.That(() => LoadText("{"), Throws.InstanceOf<InvalidDataException>().With.Message.Contains(".json: "));

    [Test]
    public void Read_SameConfigTwice_GivesEqualSchedulers()
    {
        const string json = """{"_class_name": "LMSDiscreteScheduler", "use_karras_sigmas": true}""";
        Scheduler once = Read(json), again = Read(json);
        Assert.That(again, Is.EqualTo(once).And.Not.SameAs(once));
    }

    [Test]
    public void WithLegacyConfigFixes_OldConfig_SetsOffsetAndNoClipping()
    {
        Scheduler old = Read("""{"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}""");
        var repaired = (DDIMScheduler)old.WithLegacyConfigFixes();
        Assert.That((repaired.StepsOffset, repaired.ClipSample, repaired.BetaStart), Is.EqualTo((1, false, 0.00085)));
        Assert.That(new EDMEulerScheduler().WithLegacyConfigFixes(), Is.EqualTo(new EDMEulerScheduler()));
    }
}
