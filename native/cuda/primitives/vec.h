// N neighbours in global memory, moved by one instruction. The address must be a multiple of the whole size (4, 8 or 16 bytes).
#pragma once

#include "cuda/primitives/dtype.h"
#if defined(SDN_EMULATION)
#include "cuda/emulation/memory_view.h"
#endif

namespace sdn::cuda::SDN_TARGET {

template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    static_assert(sizeof(T) * N <= 16 && (N & (N - 1)) == 0, "one instruction moves at most 16 bytes");
    T v[N];
    SDN_HOST_DEVICE T& operator[](int i) { return v[i]; }
    SDN_HOST_DEVICE const T& operator[](int i) const { return v[i]; }
};

template <int N, class T>
SDN_DEVICE Vec<T, N> load_vec(const T* address) {
#if defined(SDN_EMULATION)
    require_aligned(address, sizeof(T) * N);
#endif
    return *reinterpret_cast<const Vec<T, N>*>(address);
}

template <int N, class T>
SDN_DEVICE void store_vec(T* address, const Vec<T, N>& value) {
#if defined(SDN_EMULATION)
    require_aligned(address, sizeof(T) * N);
#endif
    *reinterpret_cast<Vec<T, N>*>(address) = value;
}

}  // namespace sdn::cuda::SDN_TARGET
