// Execs, their arena, uploads and downloads.
#include "api/check.h"

using namespace sdn;
using namespace sdn::api;

namespace {

// What upload and download check; false where there is nothing to copy.
bool check_transfer(const Exec& exec, const void* to, const void* from, int64_t bytes) {
    if (bytes < 0) fail(SDN_ERROR_INVALID_ARGUMENT, "bytes is %lld", static_cast<LongLong>(bytes));
    if (bytes == 0) return false;
    require(static_cast<const char*>(to), "the destination");
    require(static_cast<const char*>(from), "the source");
    if (exec.capturing()) fail(SDN_ERROR_INVALID_ARGUMENT, "a graph cannot hold a copy to or from the host: make it before the capture");
    return !exec.measuring();
}

}  // namespace

extern "C" {

sdn_status sdn_exec_create(sdn_device* device, int32_t mode, int64_t arena_bytes, sdn_exec** exec) {
    return guard("sdn_exec_create", [&] {
        const sdn_device& d = require(device, "device");
        sdn_exec*& result = require(exec, "exec");
        result = nullptr;
        if (mode != SDN_EXEC_RUN && mode != SDN_EXEC_MEASURE) fail(SDN_ERROR_INVALID_ARGUMENT, "unknown mode %d", mode);
        result = new sdn_exec(d.device, mode, arena_bytes);
    });
}

sdn_status sdn_exec_destroy(sdn_exec* exec) {
    return guard("sdn_exec_destroy", [&] { delete exec; });
}

sdn_status sdn_exec_alloc(sdn_exec* exec, int64_t bytes, void** data) {
    return guard("sdn_exec_alloc", [&] {
        Exec& e = require(exec, "exec");
        void*& result = require(data, "data");
        result = nullptr;
        result = e.alloc(bytes);
    });
}

sdn_status sdn_exec_free(sdn_exec* exec, void* data) {
    return guard("sdn_exec_free", [&] { require(exec, "exec").free(data); });
}

sdn_status sdn_exec_reset(sdn_exec* exec) {
    return guard("sdn_exec_reset", [&] { require(exec, "exec").reset(); });
}

sdn_status sdn_exec_get_stats(const sdn_exec* exec, sdn_exec_stats* stats) {
    return guard("sdn_exec_get_stats", [&] {
        const Exec& e = require(exec, "exec");
        require(stats, "stats") = e.stats();
    });
}

sdn_status sdn_exec_cancel(sdn_exec* exec) {
    return guard("sdn_exec_cancel", [&] { require(exec, "exec").cancel(); });
}

sdn_status sdn_upload(sdn_exec* exec, void* device_data, const void* host_data, int64_t bytes) {
    return guard("sdn_upload", [&] {
        Exec& e = require(exec, "exec");
        if (check_transfer(e, device_data, host_data, bytes)) e.stream().upload(device_data, host_data, bytes);
    });
}

sdn_status sdn_download(sdn_exec* exec, void* host_data, const void* device_data, int64_t bytes) {
    return guard("sdn_download", [&] {
        Exec& e = require(exec, "exec");
        if (check_transfer(e, host_data, device_data, bytes)) e.stream().download(host_data, device_data, bytes);
    });
}

sdn_status sdn_exec_synchronize(sdn_exec* exec) {
    return guard("sdn_exec_synchronize", [&] {
        Exec& e = require(exec, "exec");
        if (e.capturing()) fail(SDN_ERROR_INVALID_ARGUMENT, "the exec is capturing: end the capture first");
        e.stream().synchronize();
    });
}

sdn_status sdn_exec_get_stream(const sdn_exec* exec, void** stream) {
    return guard("sdn_exec_get_stream", [&] {
        void*& result = require(stream, "stream");
        result = nullptr;
        result = require(exec, "exec").stream().native();
    });
}

const char* sdn_exec_last_kernels(const sdn_exec* exec) {
    return exec != nullptr ? exec->stream().kernels() : "";
}

}  // extern "C"
