// What a CPU kernel file may see. These files are compiled once per instruction set (SDN_ISA = portable, avx2, avx512, avx512bf16), each
// into its own namespace sdn::cpu::SDN_ISA, with that set's compiler flags. So this header is plain C++ without standard templates: an
// inline template instantiated in an AVX-512 file could be picked by the linker for everybody and crash an older machine.
#pragma once

#include "core/exec_api.h"

namespace sdn {

int exec_threads(const Exec& exec);

// Calls fn(context, index, thread) for every index in [0, count), on up to exec_threads() threads; 0 <= thread < exec_threads(), and a
// thread runs one call at a time. Returns when all are done. Once the exec is cancelled the remaining calls are skipped.
// A kernel gives each index work of about 0.1 to 50 ms, so that cancelling is quick and scheduling is cheap.
void exec_parallel_for(Exec& exec, int64_t count, void (*fn)(void* context, int64_t index, int thread), void* context);

namespace cpu {

// A matrix or convolution weight packed for the microkernel: see cpu/gemm/pack.inl.h for the layout.
struct PackedMatrix {
    void* data = nullptr;     // panels, in `storage`
    float* bias = nullptr;    // in packed column order, padded with zeros to panel_count * panel_width; or nullptr
    float* scales = nullptr;  // SDN_INT8: of each panel, block of K and column; a byte times its scale is the weight
    int32_t* sums = nullptr;  // SDN_INT8, like scales: minus 128 times the bytes' sum
    int32_t storage = SDN_FLOAT32;
    int32_t panel_width = 0;  // columns (outputs) per panel: the microkernel's NR
    int64_t panel_count = 0;
    int64_t rows = 0;     // outputs N (of all parts)
    int64_t columns = 0;  // reduction length K = in * kh * kw, ordered (ky, kx, c) for convolutions
    int32_t kernel_height = 1, kernel_width = 1;
    bool fast = false;   // SDN_PRECISION_FAST
    bool pairs = false;  // bfloat16, k and k+1 side by side, for products of bfloat16 pairs: see cpu/gemm/pack.inl.h
    // Stored in 16 bits and multiplied in float16, as weights / half_unit, which are below 2^half_exponent: see cpu/gemm/halves.inl.h.
    bool halves = false;
    float half_unit = 1;  // a power of two
    int32_t half_exponent = 0;
    bool geglu = false;  // each panel holds panel_width/2 values, then their panel_width/2 gates
};

}  // namespace cpu
}  // namespace sdn
