using StableDiffusion.Native;

namespace StableDiffusion.Tests.Models;

/// <summary>The devices that every model test runs on.</summary>
internal static class TestDevices
{
    /// <summary>Their names, for <c>[TestFixtureSource]</c>. Plain "cpu" is the best instruction set, or the one <c>SDN_CPU</c> names.</summary>
    public static readonly string[] All = ["cpu"];

    /// <summary>Opens one; a device that this machine lacks makes the test Ignored, with the reason.</summary>
    public static Device Open(string name, int threads = 0)
    {
        try
        {
            return Device.Open(name, threads);
        }
        catch (DeviceNotFoundException missing)
        {
            Assert.Ignore($"{name}: {missing.Message}");
            throw;
        }
    }
}
