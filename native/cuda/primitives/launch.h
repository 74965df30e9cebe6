// launch(): the only way to start a kernel.
#pragma once

#include "cuda/kernel_api.h"
#include "cuda/primitives/target.h"
#if defined(SDN_EMULATION)
#include "cuda/emulation/launch.h"
#else
#include <cuda_runtime.h>
#endif

namespace sdn::cuda::SDN_TARGET {

struct Grid {
    int64_t x = 1, y = 1, z = 1;  // y and z at most 65535
};

// Queues a kernel: `threads` per block (a multiple of 32, at most 1024), `shared_bytes` of shared memory per block. Arguments are copied.
// `name` is what a trace and an error say has run.
template <class... Parameters, class... Arguments>
void launch(Queue& queue, const char* name, void (*kernel)(Parameters...), Grid grid, int threads, int shared_bytes,
            const Arguments&... arguments) {
    queue.begin_launch(name);
#if defined(SDN_EMULATION)
    emulation::launch(queue, name, {grid.x, grid.y, grid.z, threads, shared_bytes},
                      [kernel, ... a = Parameters(arguments)] { kernel(a...); });
#else
    // Above 48 KiB a kernel must say so once per device and process; saying it again is cheap. It also asks for all of the memory that is
    // divided between L1 and shared, so that several of its blocks fit a multiprocessor.
    cudaError_t error = cudaSuccess;
    if (shared_bytes > 48 * 1024) {
        const void* const function = reinterpret_cast<const void*>(kernel);
        error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
        if (error == cudaSuccess)
            error = cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
    }
    if (error == cudaSuccess) {
        cudaLaunchConfig_t config{};
        config.gridDim = dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
        config.blockDim = dim3(static_cast<unsigned>(threads));
        config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
        config.stream = static_cast<cudaStream_t>(queue.stream);
        error = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
    }
    queue.end_launch(name, static_cast<int>(error), error == cudaSuccess ? "" : cudaGetErrorString(error));
#endif
}

}  // namespace sdn::cuda::SDN_TARGET
