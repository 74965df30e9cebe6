using StableDiffusion.Native;

namespace StableDiffusion.Tests;

/// <summary>After all tests, no native object may have died in its finalizer: each has an owner that disposes it.</summary>
[SetUpFixture]
public class LeakCheck
{
    /// <summary>Leaks that a test made on purpose.</summary>
    internal static long Deliberate { get; set; }

    [OneTimeTearDown]
    public void LeakedHandles_AfterAllTests_AreNone()
    {
        CollectGarbage();
        Assert.That(NativeLibraryLocator.LeakedHandles - Deliberate, Is.Zero, "native objects that were never disposed");
    }

    internal static void CollectGarbage()
    {
        // Twice: the first collection lets finalizers run, the second takes what they released.
        for (int i = 0; i < 2; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }
}
