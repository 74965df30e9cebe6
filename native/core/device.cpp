#include "core/device.h"

#include "core/error.h"
#include "cpu/device.h"
#include "cuda/device.h"

namespace sdn {

std::shared_ptr<Device> Device::open(const std::string& name, const char* cpu_choice, int threads, int32_t precision) {
    if (name == "cuda" || name.compare(0, 5, "cuda:") == 0) return cuda::open_device(name);
    if (name == "cpu" || name.compare(0, 4, "cpu:") == 0) return cpu::open_device(name, cpu_choice, threads, precision);
    fail(SDN_ERROR_NO_DEVICE,
         "unknown device \"%s\": \"cpu\", \"cpu:portable\", \"cpu:avx2\", \"cpu:avx512\", \"cpu:avx512bf16\", \"cuda\" or \"cuda:N\"",
         name.c_str());
}

void* Device::buffer_alloc(int64_t bytes) {
    if (bytes <= 0) fail(SDN_ERROR_INVALID_ARGUMENT, "a buffer of %lld bytes makes no sense", static_cast<long long>(bytes));
    std::shared_ptr<void> memory = allocate(bytes, "a buffer");
    void* data = memory.get();
    std::lock_guard lock(buffers_mutex_);
    buffers_.emplace(data, std::move(memory));
    return data;
}

void Device::buffer_free(void* data) {
    std::shared_ptr<void> memory;  // given back outside the lock
    std::lock_guard lock(buffers_mutex_);
    const auto found = buffers_.find(data);
    if (found == buffers_.end())
        fail(SDN_ERROR_INVALID_ARGUMENT, "no live buffer of this device begins there: it was freed already, or belongs to another");
    memory = std::move(found->second);
    buffers_.erase(found);
}

}  // namespace sdn
