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
    [LibraryImport(Library)] internal static partial Status sdn_exec_synchronize(ExecHandle exec);
    [LibraryImport(Library)] internal static partial Status sdn_exec_get_stream(ExecHandle exec, nint* stream);
    [LibraryImport(Library)] internal static partial byte* sdn_exec_last_kernels(ExecHandle exec);
    [LibraryImport(Library)] internal static partial Status sdn_event_create(DeviceHandle device, nint* e);
    [LibraryImport(Library)] internal static partial Status sdn_event_destroy(nint e);
    [LibraryImport(Library)] internal static partial Status sdn_event_record(EventHandle e, ExecHandle exec);
    [LibraryImport(Library)] internal static partial Status sdn_event_query(EventHandle e, int* done);
    [LibraryImport(Library)] internal static partial Status sdn_event_synchronize(EventHandle e);
    [LibraryImport(Library)] internal static partial Status sdn_event_elapsed(EventHandle begin, EventHandle end, double* milliseconds);
    [LibraryImport(Library)] internal static partial Status sdn_capture_begin(ExecHandle exec);
    [LibraryImport(Library)] internal static partial Status sdn_capture_end(ExecHandle exec, nint* graph);
    [LibraryImport(Library)] internal static partial Status sdn_graph_launch(GraphHandle graph, ExecHandle exec);
    [LibraryImport(Library)] internal static partial Status sdn_graph_destroy(nint graph);
}
