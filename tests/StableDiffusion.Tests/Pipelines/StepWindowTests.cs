using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>At most two steps in flight, reported in order.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Cuda))]
public sealed class StepWindowTests(string deviceName)
{
    [Test]
    public void Add_ManySteps_NeverMoreThanTwoInFlightAndAllReportedInOrder()
    {
        using var device = Device.Open(deviceName);
        using var exec = Exec.Create(device, 1 << 20);
        var done = new List<int>();
        using var window = new StepWindow(device, done.Add);
        Tensor x = exec.Upload<float>(new float[1000], DType.Float32, 1000);
        int most = 0;
        for (int step = 0; step < 20; step++)
        {
            window.WaitUntil(StepWindow.Capacity - 1, default);
            exec.LinearCombination(x, [x], [1]);
            window.Add(exec, step);
            most = Math.Max(most, window.InFlight);
            Assert.That(done, Has.Count.GreaterThanOrEqualTo(step - 1), "what is not in flight is reported");
        }
        window.WaitUntil(0, default);
        Assert.That(most, Is.LessThanOrEqualTo(StepWindow.Capacity));
        Assert.That(done, Is.EqualTo(Enumerable.Range(0, 20)));
    }
}
