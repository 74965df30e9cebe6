using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

internal static unsafe partial class Interop
{
    [LibraryImport(Library)] internal static partial Status sdn_weight_create(DeviceHandle device, NativeWeightDesc* desc, nint* weight);
    [LibraryImport(Library)] internal static partial Status sdn_weight_destroy(nint weight);
    [LibraryImport(Library)] internal static partial Status sdn_weight_get_info(WeightHandle weight, NativeWeightInfo* info);
    [LibraryImport(Library)] internal static partial Status sdn_weight_unpack(WeightHandle weight, void* values, float* bias);
}
