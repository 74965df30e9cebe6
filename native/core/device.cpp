#include "core/device.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "core/error.h"
#include "core/system_info.h"
#include "core/thread_pool.h"

namespace sdn {

namespace {

constexpr int kMostThreads = 1024;

std::string available_sets() {
    std::string text;
    for (const char* name : {"portable", "avx2", "avx512"})
        if (cpu::find_kernels(name) != nullptr) text += (text.empty() ? "" : ", ") + std::string(name);
    return text;
}

const cpu::Kernels& choose_kernels(const std::string& name, const char* cpu_choice) {
    const bool plain = name == "cpu";
    if (plain && (cpu_choice == nullptr || *cpu_choice == 0)) return *cpu::best_kernels();
    const std::string set = plain ? cpu_choice : name.substr(4);
    if (const cpu::Kernels* kernels = cpu::find_kernels(set.c_str())) return *kernels;
    fail(SDN_ERROR_NO_DEVICE, "%s names the instruction set \"%s\", which is unknown or which this machine lacks: it has %s",
         plain ? "the environment variable SDN_CPU" : "the device name", set.c_str(), available_sets().c_str());
}

}  // namespace

const char* cuda_absence() {
    return "this library was built without CUDA";
}

std::shared_ptr<Device> Device::open(const std::string& name, const char* cpu_choice, int threads) {
    if (name == "cuda" || name.compare(0, 5, "cuda:") == 0)
        fail(SDN_ERROR_NO_DEVICE, "there is no device \"%s\": %s; \"cpu\" always exists", name.c_str(), cuda_absence());
    if (name != "cpu" && name.compare(0, 4, "cpu:") != 0)
        fail(SDN_ERROR_NO_DEVICE, "unknown device \"%s\": \"cpu\", \"cpu:portable\", \"cpu:avx2\", \"cpu:avx512\", \"cuda\" or \"cuda:N\"",
             name.c_str());
    if (threads < 0 || threads > kMostThreads)
        fail(SDN_ERROR_INVALID_ARGUMENT, "threads is %d: give 1 to %d, or 0 for one per available core", threads, kMostThreads);
    const cpu::Kernels& kernels = choose_kernels(name, cpu_choice);
    return std::shared_ptr<Device>(new Device(kernels, threads > 0 ? threads : std::min(available_threads(), kMostThreads)));
}

Device::Device(const cpu::Kernels& kernels, int threads) : kernels_(&kernels), threads_(threads) {}

sdn_device_info Device::info() const {
    sdn_device_info info{};
    const MemoryInfo memory = read_memory_info();
    info.kind = SDN_DEVICE_CPU;
    info.threads = threads_;
    info.total_bytes = memory.total_bytes;
    info.free_bytes = memory.free_bytes;
    std::snprintf(info.name, sizeof info.name, "%s", cpu_name().c_str());
    std::snprintf(info.instruction_set, sizeof info.instruction_set, "%s", kernels_->name);
    return info;
}

double Device::measure_peak(double seconds) const {
    using Clock = std::chrono::steady_clock;
    struct Run {
        const cpu::Kernels& kernels;
        int64_t multiply_adds;
        double flops;
    };
    // Four pieces per thread, so that a thread that begins late costs little.
    const int64_t pieces = 4 * threads_;
    const auto time_run = [&](Run& run) {
        const auto begin = Clock::now();
        ThreadPool::instance().parallel_for(
            threads_, pieces,
            [](void* context, int64_t index, int) {
                Run& r = *static_cast<Run*>(context);
                const double flops = r.kernels.peak_loop(r.multiply_adds);
                if (index == 0) r.flops = flops;
            },
            &run);
        return std::chrono::duration<double>(Clock::now() - begin).count();
    };

    ThreadPool::instance().ensure(threads_);
    Run run{*kernels_, 1 << 20, 0};
    while (time_run(run) < 0.01) run.multiply_adds *= 2;
    const auto begin = Clock::now();
    double best = 0;
    do {
        const double elapsed = time_run(run);
        best = std::max(best, static_cast<double>(pieces) * run.flops / elapsed);
    } while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds);
    return best * 1e-9;
}

void* Device::buffer_alloc(int64_t bytes) {
    if (bytes <= 0) fail(SDN_ERROR_INVALID_ARGUMENT, "a buffer of %lld bytes makes no sense", static_cast<long long>(bytes));
    Memory memory(bytes, "a buffer");
    void* data = memory.data();
    std::lock_guard lock(buffers_mutex_);
    buffers_.emplace(data, std::move(memory));
    return data;
}

void Device::buffer_free(void* data) {
    Memory memory;  // given back outside the lock
    std::lock_guard lock(buffers_mutex_);
    const auto found = buffers_.find(data);
    if (found == buffers_.end())
        fail(SDN_ERROR_INVALID_ARGUMENT, "no live buffer of this device begins there: it was freed already, or belongs to another");
    memory = std::move(found->second);
    buffers_.erase(found);
}

}  // namespace sdn
