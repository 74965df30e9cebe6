using StableDiffusion.Native;

namespace StableDiffusion.Tests.Support;

/// <summary>
/// Every device a test can run on, as a <c>[TestFixtureSource]</c>: the processor at each instruction set, and CUDA. One that this machine
/// lacks is Ignored with the library's own reason.
/// </summary>
public static class TestDevices
{
    /// <summary>Fixture arguments: the device's name.</summary>
    public static IEnumerable<TestFixtureData> All => Names.Select(name =>
    {
        var data = new TestFixtureData(name);
        return ReasonNotHere(name) is { } reason ? data.Ignore(reason) : data;
    });

    /// <summary>The names that open here.</summary>
    public static IEnumerable<string> Available => Names.Where(name => ReasonNotHere(name) is null);

    static string[] Names { get; } = ["cpu:portable", "cpu:avx2", "cpu:avx512", "cuda"];

    static string? ReasonNotHere(string name)
    {
        try
        {
            using var device = Device.Open(name);
            return null;
        }
        catch (DeviceNotFoundException e)
        {
            return e.Message;
        }
    }
}
