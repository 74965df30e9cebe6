using StableDiffusion.Native;

namespace StableDiffusion.Cli;

/// <summary>Opens what <c>--device</c> names.</summary>
internal static class Devices
{
    /// <exception cref="CliException">No such name.</exception>
    /// <exception cref="DeviceNotFoundException">No such device on this machine.</exception>
    internal static Device Open(string name, int threads, Precision precision)
    {
        try
        {
            return Device.Open(name, threads, precision);
        }
        catch (Exception failure) when (failure is ArgumentException or DeviceNotFoundException)
        {
            throw new CliException(ExitCode.Device, $"--device '{name}': {Failures.TextOf(failure)}; 'doctor' lists the devices of this machine", failure);
        }
    }
}
