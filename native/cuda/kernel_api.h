// What a .cu file may see of the host: where it launches, what its weights look like, what the device can do. See cuda/ops.h for the ops.
#pragma once

#include "core/exec_api.h"

namespace sdn::cuda {

class Device;  // cuda/device.h

// What tile choice and grids depend on.
struct Limits {
    int32_t architecture = 0;  // 10 * major + minor of the compute capability: 80, 90
    int32_t multiprocessors = 0;
    int32_t threads_per_multiprocessor = 0;
    int32_t shared_per_block = 0;  // bytes one block may ask for
    int32_t shared_per_multiprocessor = 0;
    int64_t l2_bytes = 0;
};

// Where kernels are launched: a stream of a device, in order.
struct Queue {
    void* stream = nullptr;  // cudaStream_t; emulated: emulation::Stream*
    Limits limits;
    Device* device = nullptr;

    // launch() calls these around a launch; they fail with SDN_ERROR_DEVICE, naming the kernel. error: a cudaError_t.
    void begin_launch(const char* name);
    void end_launch(const char* name, int error, const char* text);

    static constexpr int kNamesBytes = 160;
    char names[kNamesBytes] = "";  // of the kernels launched since the op began, joined by " + "
};

Queue& exec_queue(Exec& exec);

// A matrix or convolution weight: rows (outputs) of `row_stride` elements, of which the first `columns` are in the order (ky, kx, c), the
// rest zero. row_stride is a multiple of 8 (of 4 for float32), so that rows begin on 16 bytes. With geglu, rows 2i and 2i+1 are value i
// and gate i.
struct MatrixWeight {
    void* data = nullptr;   // [rows, row_stride] in `storage`
    float* bias = nullptr;  // [rows] in the order of data's rows, or nullptr
    // For images doubled by nearest neighbour: for each phase (py, px) of the output the 2x2 kernel that does the same on the small image,
    // [4, rows, phase_row_stride] with columns (ky, kx, c), summed in float32 and rounded to `storage` once; or nullptr.
    void* phases = nullptr;
    int64_t rows = 0, columns = 0;
    int64_t row_stride = 0, phase_row_stride = 0;
    int32_t storage = SDN_FLOAT32;
    int32_t kernel_height = 1, kernel_width = 1;
    bool geglu = false;

    int64_t channels() const { return columns / (int64_t{kernel_height} * kernel_width); }
};

struct NormWeight {
    const float* scale = nullptr;
    const float* shift = nullptr;
    int64_t channels = 0;
};

struct EmbeddingWeight {  // row-major in `storage`
    const void* data = nullptr;
    int32_t storage = SDN_FLOAT32;
    int64_t rows = 0, columns = 0;
};

}  // namespace sdn::cuda
