using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

internal static unsafe partial class Interop
{
    [LibraryImport(Library)] internal static partial Status sdn_device_count(int kind, int* count);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial Status sdn_device_open(string name, int threads, int precision, nint* device);
    [LibraryImport(Library)] internal static partial Status sdn_device_close(nint device);
    [LibraryImport(Library)] internal static partial Status sdn_device_get_info(DeviceHandle device, NativeDeviceInfo* info);
    [LibraryImport(Library)] internal static partial Status sdn_device_get_context(DeviceHandle device, nint* context);
    [LibraryImport(Library)] internal static partial Status sdn_device_measure_peak(DeviceHandle device, int dtype, double seconds, double* gflops);
    [LibraryImport(Library)] internal static partial Status sdn_buffer_alloc(DeviceHandle device, long bytes, nint* data);
    [LibraryImport(Library)] internal static partial Status sdn_buffer_free(nint device, nint data);
}
