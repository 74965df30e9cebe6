// Execs, their arena, uploads and downloads.
#include <cstring>

#include "api/check.h"

using namespace sdn;
using namespace sdn::api;

namespace {

// Shared by upload and download: on a CPU device both are one copy.
void transfer(const Exec& exec, void* to, const void* from, int64_t bytes) {
    if (bytes < 0) fail(SDN_ERROR_INVALID_ARGUMENT, "bytes is %lld", static_cast<LongLong>(bytes));
    if (bytes == 0) return;
    require(static_cast<char*>(to), "the destination");
    require(static_cast<const char*>(from), "the source");
    if (!exec.measuring()) std::memmove(to, from, static_cast<size_t>(bytes));
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
    return guard("sdn_upload", [&] { transfer(require(exec, "exec"), device_data, host_data, bytes); });
}

sdn_status sdn_download(sdn_exec* exec, void* host_data, const void* device_data, int64_t bytes) {
    return guard("sdn_download", [&] { transfer(require(exec, "exec"), host_data, device_data, bytes); });
}

}  // extern "C"
