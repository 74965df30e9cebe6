using StableDiffusion.Schedulers;

namespace StableDiffusion.Tests.Schedulers;

public class StepExecutorTests
{
    [Test]
    public void Execute_DrawWithoutNoise_SaysSo()
    {
        SchedulerRun run = new EulerAncestralDiscreteScheduler().Begin(4);
        using var executor = new StepExecutor<float[]>(new HostStepOps(1));
        Assert.That(() => executor.Execute(run.Step(0), [1], [1]), Throws.InvalidOperationException.With.Message.Contains("draws noise"));
    }

    [Test]
    public void Execute_StepLeftOut_SaysSo()
    {
        SchedulerRun run = new HeunDiscreteScheduler().Begin(4);
        using var executor = new StepExecutor<float[]>(new HostStepOps(1));
        Assert.That(() => executor.Execute(run.Step(1), [1], [1]), Throws.InvalidOperationException.With.Message.Contains("in order"));
    }

    [Test]
    public void Execute_WholeGeneration_ChangesNeitherOutputNorNoiseAndGivesSlotsBack()
    {
        var ops = new CountingOps();
        SchedulerRun run = new DPMSolverMultistepScheduler { AlgorithmType = AlgorithmType.SdeDpmSolverPlusPlus, SolverOrder = 3 }.Begin(6);
        float[] sample = [1, 2], output = [0.5f, 0.25f], noise = [3, 4];
        using (var executor = new StepExecutor<float[]>(ops))
        {
            for (int call = 0; call < run.Timesteps.Count; call++)
            {
                executor.Execute(run.Step(call), sample, output, noise);
            }
            Assert.That(ops.Held, Is.EqualTo(3), "the history of a third-order solver");
        }
        Assert.That(ops.Held, Is.Zero);
        Assert.That((output, noise), Is.EqualTo((new[] { 0.5f, 0.25f }, new[] { 3f, 4f })));
    }

    [Test]
    public void Combine_TermsThatCancel_RoundsOnce()
    {
        float[] target = [1e8f];
        new HostStepOps(1).Combine(target, [target, [1], target], [1, 1, -1]);
        Assert.That(target, Is.EqualTo(new[] { 1f }));
    }

    [Test]
    public void Clamp_Values_StayWithinBounds()
    {
        float[] target = [-3, -1, 0, 1, 3];
        new HostStepOps(1).Clamp(target, -1, 2);
        Assert.That(target, Is.EqualTo(new[] { -1f, -1, 0, 1, 2 }));
    }

    /// <summary>The median of |0, 1, 2, 8| is 1.5; that of |0, 0, 0, 0.5| is 0, of which the limit is 1; that of |9, 9, 9, 9| is capped.</summary>
    [Test]
    public void DynamicThreshold_Batch_TakesEachSamplesOwnQuantile()
    {
        float[] target = [0, 1, -2, 8, 0, 0, 0, -0.5f, 9, -9, 9, 9];
        new HostStepOps(3).DynamicThreshold(target, 0.5, 4);
        Assert.That(target, Is.EqualTo(new[] { 0, 1 / 1.5f, -1, 1, 0, 0, 0, -0.5f, 1, -1, 1, 1 }).Within(1e-7));
    }

    sealed class CountingOps : IStepOps<float[]>
    {
        readonly HostStepOps host = new(1);

        public int Held { get; private set; }

        public float[] Allocate(float[] like)
        {
            Held++;
            return host.Allocate(like);
        }

        public void Combine(float[] target, ReadOnlySpan<float[]> sources, ReadOnlySpan<double> coefficients) => host.Combine(target, sources, coefficients);

        public void Clamp(float[] target, double low, double high) => host.Clamp(target, low, high);

        public void DynamicThreshold(float[] target, double ratio, double maxValue) => host.DynamicThreshold(target, ratio, maxValue);

        public void Release(float[] tensor) => Held--;
    }
}
