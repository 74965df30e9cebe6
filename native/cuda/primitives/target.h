// What a .cu file is compiled for: a GPU, by nvcc; or, with SDN_EMULATION, the CPU, by any C++ compiler, where each thread of a block is a
// fiber (cuda/emulation). A .cu file includes cuda/primitives/kernel.h, cuda/kernel_api.h and its own op's headers: no CUDA header, no
// <<<>>>, no PTX. Everything with a body in a .cu or .cuh file stands in the namespace sdn::cuda::SDN_TARGET, of which there may be two
// in one library.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(SDN_EMULATION)

#define SDN_TARGET emulated
#define SDN_KERNEL                          // a kernel: void, called by launch() only
#define SDN_DEVICE inline                   // a function of the device
#define SDN_HOST_DEVICE inline              // a function of both sides
#define SDN_LAUNCH_BOUNDS(threads, blocks)  // most threads of a block, fewest blocks per multiprocessor
#define SDN_UNROLL                          // unrolls the loop that follows
#define SDN_NO_UNROLL

#elif defined(__CUDACC__)

#define SDN_TARGET gpu
#define SDN_KERNEL __global__
#define SDN_DEVICE __device__ __forceinline__
#define SDN_HOST_DEVICE __host__ __device__ __forceinline__
#define SDN_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define SDN_UNROLL _Pragma("unroll")
#define SDN_NO_UNROLL _Pragma("unroll 1")

#else
#error "a file of cuda/ is compiled by nvcc, or as C++ with SDN_EMULATION"
#endif

namespace sdn::cuda::SDN_TARGET {

inline constexpr int kWarpThreads = 32;

template <class T>
SDN_HOST_DEVICE constexpr T ceil_div(T a, T b) {
    return (a + b - 1) / b;
}
template <class T>
SDN_HOST_DEVICE constexpr T min_of(T a, T b) {
    return b < a ? b : a;
}
template <class T>
SDN_HOST_DEVICE constexpr T max_of(T a, T b) {
    return a < b ? b : a;
}

// The same value, of which the compiler knows nothing: what is computed from it in a loop is computed there each time, rather than kept in
// registers across the loop.
SDN_DEVICE int opaque(int value) {
#if !defined(SDN_EMULATION)
    asm volatile("" : "+r"(value));
#endif
    return value;
}

}  // namespace sdn::cuda::SDN_TARGET
