// What the host asks of CUDA: memory, streams, events, graphs. runtime/gpu.cu answers with the CUDA runtime, runtime/emulated.cpp without
// a GPU. All calls concern the device that use() chose on this thread. A failed call throws a Fault.
#pragma once

#include <string>

#include "core/error.h"
#include "cuda/ops.h"

namespace sdn::cuda {

// What CUDA reported. sticky: the device is of no more use to this process.
class Fault : public Error {
  public:
    Fault(const std::string& text, bool sticky) : Error(SDN_ERROR_DEVICE, text), sticky_(sticky) {}
    bool sticky() const { return sticky_; }

  private:
    bool sticky_;
};

struct Properties {
    std::string name;
    Limits limits;
};

class Runtime {
  public:
    virtual ~Runtime() = default;
    virtual bool emulated() const = 0;
    virtual const Ops& ops() const = 0;
    virtual int device_count() = 0;
    virtual Properties properties(int index) = 0;
    virtual void use(int index) = 0;
    virtual void memory(int64_t* free_bytes, int64_t* total_bytes) = 0;
    virtual void* context() = 0;

    virtual void* allocate(int64_t bytes) = 0;  // nullptr where it does not fit
    virtual void release(void* data) noexcept = 0;
    virtual void* allocate_pinned(int64_t bytes) = 0;  // host memory that copies fast; fails where there is none
    virtual void release_pinned(void* data) noexcept = 0;
    virtual void* allocate_managed(int64_t bytes) = 0;  // for both sides, given back with release(); tests use it

    virtual void* make_stream() = 0;
    virtual void destroy_stream(void* stream) noexcept = 0;
    virtual void synchronize_stream(void* stream) = 0;
    virtual void synchronize_device() = 0;
    virtual void copy(void* stream, void* to, const void* from, int64_t bytes, bool to_device) = 0;

    virtual void* make_event() = 0;
    virtual void destroy_event(void* event) noexcept = 0;
    virtual void record(void* event, void* stream) = 0;
    virtual bool reached(void* event) = 0;
    virtual void synchronize_event(void* event) = 0;
    virtual double milliseconds(void* begin, void* end) = 0;

    virtual void begin_capture(void* stream) = 0;
    virtual void* end_capture(void* stream) = 0;  // an executable graph
    virtual void launch(void* graph, void* stream) = 0;
    virtual void destroy_graph(void* graph) noexcept = 0;

    // A kernel is about to be launched; afterwards, with the error that the launch returned (0: none).
    virtual void before_launch(void*, const char*) {}
    virtual bool is_sticky(int error) const = 0;
};

// The GPUs of this machine; nullptr and why where this build or this machine has none.
Runtime* gpu_runtime(std::string& absence);
// What this build was compiled for, such as "CUDA 12.4 sm_80 sm_90 compute_80", or why it has no CUDA.
const char* gpu_build_text();
// The emulated device; nullptr in builds without it.
Runtime* emulated_runtime();

}  // namespace sdn::cuda
