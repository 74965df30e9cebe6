using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

internal static unsafe partial class Interop
{
    [LibraryImport(Library)] internal static partial Status sdn_exec_create(DeviceHandle device, int mode, long arenaBytes, nint* exec);
    [LibraryImport(Library)] internal static partial Status sdn_exec_destroy(nint exec);
    [LibraryImport(Library)] internal static partial Status sdn_exec_alloc(ExecHandle exec, long bytes, nint* data);
    [LibraryImport(Library)] internal static partial Status sdn_exec_free(ExecHandle exec, nint data);
    [LibraryImport(Library)] internal static partial Status sdn_exec_reset(ExecHandle exec);
    [LibraryImport(Library)] internal static partial Status sdn_exec_get_stats(ExecHandle exec, ExecStats* stats);
    [LibraryImport(Library)] internal static partial Status sdn_exec_cancel(ExecHandle exec);
    [LibraryImport(Library)] internal static partial Status sdn_upload(ExecHandle exec, nint device, void* host, long bytes);
    [LibraryImport(Library)] internal static partial Status sdn_download(ExecHandle exec, void* host, nint device, long bytes);
}
