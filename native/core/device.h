// An open device. Shared by its handle, its execs and its weights; it goes with the last of them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/memory.h"
#include "cpu/kernels.h"
#include "sdn.h"

namespace sdn {

class Device {
  public:
    // name as in sdn_device_open(); cpu_choice: the value of SDN_CPU, or nullptr. threads: 0 = as many as the machine gives.
    static std::shared_ptr<Device> open(const std::string& name, const char* cpu_choice, int threads);

    const cpu::Kernels& kernels() const { return *kernels_; }
    int threads() const { return threads_; }
    sdn_device_info info() const;
    double measure_peak(double seconds) const;  // GFLOP/s

    void* buffer_alloc(int64_t bytes);
    void buffer_free(void* data);

  private:
    Device(const cpu::Kernels& kernels, int threads);

    const cpu::Kernels* kernels_;
    int threads_;
    std::mutex buffers_mutex_;
    std::map<void*, Memory> buffers_;
};

// Why this build or machine has no CUDA device.
const char* cuda_absence();

}  // namespace sdn

struct sdn_device {
    std::shared_ptr<sdn::Device> device;
};
