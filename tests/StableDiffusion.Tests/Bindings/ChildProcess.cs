using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Bindings;

/// <summary>
/// This assembly as a program, for what depends on the environment a process starts with: the C library reads it once, and .NET's own copy
/// does not reach it.
/// </summary>
static class ChildProcess
{
    /// <summary>Opens a device in a process of its own.</summary>
    /// <returns>The instruction set, or type and text of the exception.</returns>
    public static string OpenDevice(string name, params (string Name, string? Value)[] environment) =>
        Command.Run(Command.Dotnet, ["exec", typeof(ChildProcess).Assembly.Location, name], TimeSpan.FromMinutes(2), null, environment).Output.Trim();

    static void Main(string[] arguments)
    {
        try
        {
            using var device = Device.Open(arguments[0]);
            Console.WriteLine(device.Info.InstructionSet);
        }
        catch (Exception e) when (e is DeviceNotFoundException or DllNotFoundException)
        {
            Console.WriteLine($"{e.GetType().Name}: {e.Message}");
        }
    }
}
