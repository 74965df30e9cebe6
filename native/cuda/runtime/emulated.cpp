// The emulated device: device memory is host memory, and everything has been done when its call returns. Only for tests.
//   SDN_EMULATION_MEMORY=<bytes>          how much memory it has (default: 8 GiB)
//   SDN_EMULATION_FAULT=<part of a name>  a kernel of such a name faults as on a GPU: at the next wait, and the device is lost
#include "cuda/runtime/runtime.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "core/memory.h"
#include "core/sanitizer.h"
#include "core/thread_pool.h"
#include "core/system_info.h"
#include "cuda/emulation/launch.h"

namespace sdn::cuda {

namespace emulated {
extern const Ops ops;
}

namespace {

using Clock = std::chrono::steady_clock;

int64_t memory_size() {
    const char* text = std::getenv("SDN_EMULATION_MEMORY");
    const long long bytes = text != nullptr ? std::atoll(text) : 0;
    return bytes > 0 ? bytes : int64_t{8} << 30;
}

struct EmulatedEvent {
    Clock::time_point time{};
};

using EmulatedGraph = std::vector<emulation::Recorded>;

emulation::Stream& stream_of(void* stream) {
    return *static_cast<emulation::Stream*>(stream);
}

class EmulatedRuntime final : public Runtime {
  public:
    bool emulated() const override { return true; }
    const Ops& ops() const override { return emulated::ops; }
    int device_count() override { return 1; }

    // Small, so that the paths for many waves and for few are both taken; otherwise as an sm_80.
    Properties properties(int) override {
        ThreadPool::instance().ensure(available_threads());
        std::lock_guard lock(mutex_);
        fault_.clear();  // opened anew
        return {"emulated sm_80", {80, 16, 2048, 166912, 167936, int64_t{4} << 20}};
    }
    void use(int) override {}
    void memory(int64_t* free_bytes, int64_t* total_bytes) override {
        std::lock_guard lock(mutex_);
        *total_bytes = memory_size();
        *free_bytes = *total_bytes - used_ > 0 ? *total_bytes - used_ : 0;
    }
    void* context() override { return nullptr; }

    void* allocate(int64_t bytes) override {
        surface();
        std::lock_guard lock(mutex_);
        if (bytes > memory_size() - used_) return nullptr;
        Memory memory(bytes, "the emulated device");
        void* data = memory.data();
        used_ += bytes;
        blocks_.emplace(data, std::move(memory));
        return data;
    }
    void release(void* data) noexcept override {
        std::lock_guard lock(mutex_);
        const auto found = blocks_.find(data);
        if (found == blocks_.end()) return;
        allow_access(data, found->second.bytes());
        used_ -= found->second.bytes();
        blocks_.erase(found);
    }
    void* allocate_pinned(int64_t bytes) override { return std::malloc(static_cast<size_t>(bytes)); }
    void release_pinned(void* data) noexcept override { std::free(data); }

    void* allocate_managed(int64_t bytes) override { return allocate(bytes); }

    void* make_stream() override {
        surface();
        return new emulation::Stream;
    }
    void destroy_stream(void* stream) noexcept override {
        delete stream_of(stream).capturing;  // a capture that nobody ended
        delete static_cast<emulation::Stream*>(stream);
    }
    void synchronize_stream(void*) override { surface(); }
    void synchronize_device() override { surface(); }
    void copy(void*, void* to, const void* from, int64_t bytes, bool) override {
        surface();
        std::memcpy(to, from, static_cast<size_t>(bytes));
    }

    void* make_event() override { return new EmulatedEvent{Clock::now()}; }
    void destroy_event(void* event) noexcept override { delete static_cast<EmulatedEvent*>(event); }
    void record(void* event, void*) override { static_cast<EmulatedEvent*>(event)->time = Clock::now(); }
    bool reached(void*) override {
        surface();
        return true;
    }
    void synchronize_event(void*) override { surface(); }
    double milliseconds(void* begin, void* end) override {
        return std::chrono::duration<double, std::milli>(static_cast<EmulatedEvent*>(end)->time - static_cast<EmulatedEvent*>(begin)->time)
            .count();
    }

    void begin_capture(void* stream) override { stream_of(stream).capturing = new EmulatedGraph; }
    void* end_capture(void* stream) override {
        EmulatedGraph* graph = stream_of(stream).capturing;
        stream_of(stream).capturing = nullptr;
        return graph;
    }
    void launch(void* graph, void* stream) override {
        surface();
        for (const emulation::Recorded& recorded : *static_cast<EmulatedGraph*>(graph)) {
            before_launch(stream, recorded.name.c_str());
            emulation::run(recorded);
        }
    }
    void destroy_graph(void* graph) noexcept override { delete static_cast<EmulatedGraph*>(graph); }

    void before_launch(void* stream, const char* name) override {
        if (stream_of(stream).capturing != nullptr) return;
        surface();
        const char* wanted = std::getenv("SDN_EMULATION_FAULT");
        if (wanted == nullptr || *wanted == 0 || std::strstr(name, wanted) == nullptr) return;
        std::lock_guard lock(mutex_);
        if (fault_.empty()) fault_ = "an illegal memory access was encountered (planted by SDN_EMULATION_FAULT)";
    }
    bool is_sticky(int) const override { return false; }

  private:
    // As CUDA does, a fault shows at a later call, and from then on at every call.
    void surface() {
        std::lock_guard lock(mutex_);
        if (!fault_.empty()) throw Fault(fault_, true);
    }

    std::mutex mutex_;
    std::map<void*, Memory> blocks_;
    int64_t used_ = 0;
    std::string fault_;
};

}  // namespace

Runtime* emulated_runtime() {
    static EmulatedRuntime runtime;
    return &runtime;
}

}  // namespace sdn::cuda
