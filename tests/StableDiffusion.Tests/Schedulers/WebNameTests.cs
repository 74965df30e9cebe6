using StableDiffusion.Schedulers;

namespace StableDiffusion.Tests.Schedulers;

/// <summary>A scheduler made by a web UI's name is called by that name in a picture's parameters.</summary>
public sealed class WebNameTests
{
    [TestCase("Euler a", "Euler a", null)]
    [TestCase("DPM++ 2M Karras", "DPM++ 2M", "Karras")]
    [TestCase("DPM++ 2M SDE Karras", "DPM++ 2M SDE", "Karras")]
    [TestCase("DPM++ 2M SDE Heun", "DPM++ 2M SDE Heun", null)]
    [TestCase("Euler SGM Uniform", "Euler", "SGM Uniform")]
    [TestCase("UniPC", "UniPC", null)]
    [TestCase("DDIMScheduler", "DDIM", null)]
    public void WebName_SchedulerByName_SamplerAndScheduleType(string name, string sampler, string? scheduleType) =>
        Assert.That(SchedulerCatalog.WebName(Scheduler.Create(name)), Is.EqualTo((sampler, scheduleType)));

    [Test]
    public void WebName_EveryName_CreatesTheSameSchedulerAgain()
    {
        foreach (string name in Scheduler.Names.Where(name => !name.EndsWith("Scheduler", StringComparison.Ordinal)))
        {
            Scheduler scheduler = Scheduler.Create(name);
            (string sampler, string? scheduleType) = SchedulerCatalog.WebName(scheduler);
            Assert.That(SchedulerConfig.Write(Scheduler.Create($"{sampler} {scheduleType}".Trim())).ToJsonString(), Is.EqualTo(SchedulerConfig.Write(scheduler).ToJsonString()), name);
        }
    }
}
