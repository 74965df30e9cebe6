using System.Diagnostics;
using StableDiffusion.Native;

namespace StableDiffusion.Tests.Bindings;

/// <summary>
/// This assembly as a program, for what depends on the environment a process starts with: the C library reads it once, and .NET's own copy
/// does not reach it.
/// </summary>
static class ChildProcess
{
    /// <summary>Opens a device in a process of its own.</summary>
    /// <returns>The instruction set, or type and text of the exception.</returns>
    public static string OpenDevice(string name, params (string Name, string Value)[] environment)
    {
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") is { Length: > 0 } host ? host : "dotnet";
        var start = new ProcessStartInfo(dotnet, ["exec", typeof(ChildProcess).Assembly.Location, name]) { RedirectStandardOutput = true };
        foreach ((string variable, string value) in environment)
        {
            start.Environment[variable] = value;
        }
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd().TrimEnd();
        process.WaitForExit();
        return output;
    }

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
