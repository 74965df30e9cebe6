using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>
/// What the timesteps of a schedule add, made at once for all of its calls. On the CPU a row of a matrix product is the same sequence of additions however
/// many rows there are, so a step with it is, bit for bit, the step that makes it anew.
/// </summary>
public sealed class UnetScheduleTests
{
    // More rows than any microkernel takes at once.
    private static readonly float[] Timesteps = [.. Enumerable.Range(0, 33).Select(i => 999 - (30.25f * i))];

    private Device _device = null!;
    private FixtureModels _models = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open("cpu", threads: 2);
        _models = new FixtureModels(_device, OwnFixtures.PathOf());
    }

    [OneTimeTearDown]
    public void Free()
    {
        _models.Dispose();
        _device.Dispose();
    }

    [Test]
    public void Forward_StepOfASchedule_IsThatOfItsTimestepBitForBit([ValueSource(typeof(OwnFixtures), nameof(OwnFixtures.Families))] string family, [Values(1, 2)] int images)
    {
        CheckSteps(_models.Unet(family), images);
    }

    [Test]
    public void Forward_StepOfAScheduleWithGuidanceEmbedding_IsThatOfItsTimestep()
    {
        UnetConfig config = UnetConfig.Read(OwnFixtures.PathOf("models", "sd1", "unet")) with { TimeCondProjDim = 6 };
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(config, new RandomWeightSource(2), _device);
        CheckSteps(unet, 2);
    }

    [TestCaseSource(typeof(OwnFixtures), nameof(OwnFixtures.Families))]
    public void PrepareSchedule_OneCallOrMany_IsTheSameRow(string family)
    {
        UNet2DConditionModel unet = _models.Unet(family);
        foreach (int call in (int[])[0, 13, Timesteps.Length - 1])
        {
            Computed[] rows = ModelRun.Evaluate(_device, run =>
            {
                using UnetContext context = Context(run, unet, 4);
                UnetSchedule all = unet.PrepareSchedule(run.Exec, Timesteps, context), one = unet.PrepareSchedule(run.Exec, [Timesteps[call]], context);
                Assert.That((all.Calls, one.Calls), Is.EqualTo((Timesteps.Length, 1)));
                Tensor first = run.Exec.Contiguous(all.Row(call)), second = run.Exec.Contiguous(one.Row(0));
                all.Dispose();
                one.Dispose();
                return [first, second];
            });
            Assert.That(rows[0].Values, Is.EqualTo(rows[1].Values).And.Some.Not.Zero, $"call {call}");
        }
    }

    [Test]
    public void Forward_ScheduleOfAnotherBatch_IsRefused()
    {
        UNet2DConditionModel unet = _models.Unet("sdxl");
        ModelRun.Evaluate(_device, run =>
        {
            using UnetContext two = Context(run, unet, 2), three = Context(run, unet, 3);
            using UnetSchedule schedule = unet.PrepareSchedule(run.Exec, [1], three);
            Tensor sample = run.Random(1, 1, 8, 8, 4);
            Assert.That(() => unet.Forward(run.Exec, sample, schedule[0], two), Throws.ArgumentException.With.Message.Contains("3 timesteps for a batch of 1"));
            return [];
        });
    }

    private void CheckSteps(UNet2DConditionModel unet, int images)
    {
        int[] calls = [0, 13, Timesteps.Length - 1];
        long anew = 0, scheduled = 0;
        Computed[] outputs = ModelRun.Evaluate(_device, run =>
        {
            Tensor sample = run.Random(1, images, 8, 6, 4);
            using UnetContext context = Context(run, unet, 2 * images);
            using UnetSchedule schedule = unet.PrepareSchedule(run.Exec, Timesteps, context);
            long before = run.Exec.Stats.Flops;
            Tensor[] expected = [.. calls.Select(call => unet.Forward(run.Exec, sample, [Timesteps[call]], context))];
            anew = run.Exec.Stats.Flops - before;
            Tensor[] actual = [.. calls.Select(call => unet.Forward(run.Exec, sample, schedule[call], context))];
            scheduled = run.Exec.Stats.Flops - before - anew;
            return [.. expected, .. actual];
        });
        for (int i = 0; i < calls.Length; i++)
        {
            Assert.That(outputs[calls.Length + i].Values, Is.EqualTo(outputs[i].Values), $"call {calls[i]}");
        }
        Assert.That(outputs[1].Values, Is.Not.EqualTo(outputs[0].Values), "the timestep matters");
        Assert.That(scheduled, Is.LessThan(anew), "matrix work");
    }

    private static UnetContext Context(ModelRun run, UNet2DConditionModel unet, int batch)
    {
        UnetConfig config = unet.Config;
        Tensor condition = config.TimeCondProjDim is { } channels ? run.Random(5, batch, channels) : default;
        return unet.PrepareContext(run.Exec, run.Random(2, batch, 7, config.CrossAttentionDim[0]), OwnFixtures.Added(run, config, batch), condition);
    }
}
