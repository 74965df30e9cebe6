// Devices and buffers.
#include <cmath>
#include <cstdlib>

#include "api/check.h"
#include "core/device.h"
#include "core/dtype.h"
#include "cuda/device.h"

using namespace sdn;
using namespace sdn::api;

extern "C" {

sdn_status sdn_device_count(int32_t kind, int32_t* count) {
    return guard("sdn_device_count", [&] {
        int32_t& result = require(count, "count");
        if (kind != SDN_DEVICE_CPU && kind != SDN_DEVICE_CUDA) fail(SDN_ERROR_INVALID_ARGUMENT, "unknown device kind %d", kind);
        std::string absence;
        result = kind == SDN_DEVICE_CPU ? 1 : cuda::device_count(absence);
        if (result == 0) set_last_error("sdn_device_count", absence.c_str());
    });
}

sdn_status sdn_device_open(const char* name, int32_t threads, int32_t precision, sdn_device** device) {
    return guard("sdn_device_open", [&] {
        sdn_device*& result = require(device, "device");
        result = nullptr;
        if (precision != SDN_PRECISION_REFERENCE && precision != SDN_PRECISION_FAST)
            fail(SDN_ERROR_INVALID_ARGUMENT, "precision is %d, must be 0 (reference) or 1 (fast)", precision);
        result = new sdn_device{Device::open(&require(name, "name"), std::getenv("SDN_CPU"), threads, precision)};
    });
}

sdn_status sdn_device_close(sdn_device* device) {
    return guard("sdn_device_close", [&] { delete device; });
}

sdn_status sdn_device_get_info(const sdn_device* device, sdn_device_info* info) {
    return guard("sdn_device_get_info", [&] {
        const sdn_device& d = require(device, "device");
        require(info, "info") = d.device->info();
    });
}

sdn_status sdn_device_get_context(const sdn_device* device, void** context) {
    return guard("sdn_device_get_context", [&] {
        const sdn_device& d = require(device, "device");
        void*& result = require(context, "context");
        result = nullptr;
        result = d.device->context();
    });
}

sdn_status sdn_device_measure_peak(sdn_device* device, int32_t dtype, double seconds, double* gflops) {
    return guard("sdn_device_measure_peak", [&] {
        const sdn_device& d = require(device, "device");
        double& result = require(gflops, "gflops");
        if (!(seconds > 0 && seconds <= 60)) fail(SDN_ERROR_INVALID_ARGUMENT, "seconds is %g, must be more than 0 and at most 60", seconds);
        if (dtype != SDN_FLOAT32 && dtype != SDN_FLOAT16 && dtype != SDN_BFLOAT16)
            fail(SDN_ERROR_INVALID_ARGUMENT, "dtype is %s, must be one that weights are stored in: float32, float16 or bfloat16",
                 dtype_name(dtype));
        result = d.device->measure_peak(dtype, seconds);
    });
}

sdn_status sdn_buffer_alloc(sdn_device* device, int64_t bytes, void** data) {
    return guard("sdn_buffer_alloc", [&] {
        sdn_device& d = require(device, "device");
        void*& result = require(data, "data");
        result = nullptr;
        result = d.device->buffer_alloc(bytes);
    });
}

sdn_status sdn_buffer_free(sdn_device* device, void* data) {
    return guard("sdn_buffer_free", [&] {
        sdn_device& d = require(device, "device");
        if (data != nullptr) d.device->buffer_free(data);
    });
}

}  // extern "C"
