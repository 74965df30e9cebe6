// The CUDA runtime, linked statically; it finds the driver when the process asks for a device, so the library loads where there is none.
#include "cuda/runtime/runtime.h"

#include <cuda_runtime.h>

#include "cuda/primitives/target.h"

namespace sdn::cuda {

namespace gpu {
extern const Ops ops;
}

namespace {

constexpr int kOldestArchitecture = 80;

void check(cudaError_t error, const char* what);

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

class GpuRuntime final : public Runtime {
  public:
    bool emulated() const override { return false; }
    const Ops& ops() const override { return gpu::ops; }

    int device_count() override {
        int count = 0;
        return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
    }

    Properties properties(int index) override {
        cudaDeviceProp p{};
        check(cudaGetDeviceProperties(&p, index), "asking for the device's properties");
        Properties result;
        result.name = p.name;
        result.limits.architecture = 10 * p.major + p.minor;
        result.limits.multiprocessors = p.multiProcessorCount;
        result.limits.threads_per_multiprocessor = p.maxThreadsPerMultiProcessor;
        result.limits.shared_per_block = static_cast<int32_t>(p.sharedMemPerBlockOptin);
        result.limits.shared_per_multiprocessor = static_cast<int32_t>(p.sharedMemPerMultiprocessor);
        result.limits.l2_bytes = p.l2CacheSize;
        if (result.limits.architecture < kOldestArchitecture)
            fail(SDN_ERROR_NO_DEVICE, "cuda:%d, %s, has compute capability %d.%d; the kernels need 8.0 or newer", index, p.name, p.major,
                 p.minor);
        return result;
    }

    void use(int index) override { check(cudaSetDevice(index), "choosing the device"); }

    void memory(int64_t* free_bytes, int64_t* total_bytes) override {
        size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "asking for free memory");
        *free_bytes = static_cast<int64_t>(free);
        *total_bytes = static_cast<int64_t>(total);
    }

    // cudart has no call for the context; the driver's is asked for by name, so that nothing links against it.
    void* context() override {
        void* function = nullptr;
        cudaDriverEntryPointQueryResult found{};
        check(cudaFree(nullptr), "initialising the device");
        check(cudaGetDriverEntryPoint("cuCtxGetCurrent", &function, cudaEnableDefault, &found), "asking for the context");
        if (found != cudaDriverEntryPointSuccess) throw Fault("the driver has no cuCtxGetCurrent", false);
        void* context = nullptr;
        reinterpret_cast<int (*)(void**)>(function)(&context);
        return context;
    }

    void* allocate(int64_t bytes) override {
        void* data = nullptr;
        const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes));
        if (error == cudaErrorMemoryAllocation) {
            cudaGetLastError();  // forget it
            return nullptr;
        }
        check(error, "allocating memory");
        return data;
    }
    void release(void* data) noexcept override { cudaFree(data); }
    void* allocate_pinned(int64_t bytes) override {
        void* data = nullptr;
        check(cudaHostAlloc(&data, static_cast<size_t>(bytes), cudaHostAllocPortable), "allocating pinned host memory");
        return data;
    }
    void release_pinned(void* data) noexcept override { cudaFreeHost(data); }

    void* allocate_managed(int64_t bytes) override {
        void* data = nullptr;
        check(cudaMallocManaged(&data, static_cast<size_t>(bytes)), "allocating managed memory");
        return data;
    }

    void* make_stream() override {
        cudaStream_t stream = nullptr;
        check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
        return stream;
    }
    void destroy_stream(void* stream) noexcept override { cudaStreamDestroy(static_cast<cudaStream_t>(stream)); }
    void synchronize_stream(void* stream) override {
        check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "waiting for the stream");
    }
    void synchronize_device() override { check(cudaDeviceSynchronize(), "waiting for the device"); }
    void copy(void* stream, void* to, const void* from, int64_t bytes, bool to_device) override {
        check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), to_device ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                              static_cast<cudaStream_t>(stream)),
              "copying between host and device");
    }

    void* make_event() override {
        cudaEvent_t event = nullptr;
        check(cudaEventCreate(&event), "making an event");
        return event;
    }
    void destroy_event(void* event) noexcept override { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
    void record(void* event, void* stream) override {
        check(cudaEventRecord(static_cast<cudaEvent_t>(event), static_cast<cudaStream_t>(stream)), "recording an event");
    }
    bool reached(void* event) override {
        const cudaError_t error = cudaEventQuery(static_cast<cudaEvent_t>(event));
        if (error == cudaErrorNotReady) {
            cudaGetLastError();
            return false;
        }
        check(error, "asking for an event");
        return true;
    }
    void synchronize_event(void* event) override { check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "waiting for an event"); }
    double milliseconds(void* begin, void* end) override {
        float result = 0;
        check(cudaEventElapsedTime(&result, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)), "timing two events");
        return static_cast<double>(result);
    }

    void begin_capture(void* stream) override {
        check(cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeThreadLocal), "beginning a capture");
    }
    void* end_capture(void* stream) override {
        cudaGraph_t graph = nullptr;
        check(cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph), "ending a capture");
        cudaGraphExec_t executable = nullptr;
        const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
        cudaGraphDestroy(graph);
        check(error, "making a graph executable");
        return executable;
    }
    void launch(void* graph, void* stream) override {
        check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream)), "launching a graph");
    }
    void destroy_graph(void* graph) noexcept override { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

    bool is_sticky(int error) const override {
        switch (error) {
            case cudaErrorIllegalAddress:
            case cudaErrorLaunchTimeout:
            case cudaErrorAssert:
            case cudaErrorHardwareStackError:
            case cudaErrorIllegalInstruction:
            case cudaErrorMisalignedAddress:
            case cudaErrorInvalidAddressSpace:
            case cudaErrorInvalidPc:
            case cudaErrorLaunchFailure:
            case cudaErrorECCUncorrectable:
            case cudaErrorUnknown:
                return true;
            default:
                return false;
        }
    }
};

GpuRuntime& the_runtime() {
    static GpuRuntime runtime;
    return runtime;
}

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    const bool sticky = the_runtime().is_sticky(error);
    if (!sticky) cudaGetLastError();
    throw Fault(std::string(what) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")", sticky);
}

}  // namespace

Runtime* gpu_runtime(std::string& absence) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0) return &the_runtime();
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        absence = "there is no NVIDIA driver on this machine";
    else if (error == cudaErrorInsufficientDriver)
        absence = "the NVIDIA driver is too old: it knows CUDA " + version_text(driver) + ", this library was built with " +
                  version_text(runtime);
    else if (error == cudaSuccess || error == cudaErrorNoDevice)
        absence = "the NVIDIA driver finds no GPU (CUDA_VISIBLE_DEVICES may hide it)";
    else
        absence = std::string("the NVIDIA driver reports: ") + cudaGetErrorString(error);
    return nullptr;
}

const char* gpu_build_text() {
    static const std::string text = "CUDA " + version_text(CUDART_VERSION) + " " SDN_CUDA_TARGETS;
    return text.c_str();
}

}  // namespace sdn::cuda
