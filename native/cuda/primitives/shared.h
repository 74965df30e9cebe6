// Shared memory of a block. A kernel divides what it was launched with into arrays by byte offsets:
//     Shared<half> tile = shared_array<half>(0, kRows * kStride);
// Elements are read and written as tile[i]; several at once as tile.read<4>(i), tile.write<4>(i, vec), where the address must be a
// multiple of the whole size. It is not initialised.
#pragma once

#include "cuda/primitives/vec.h"
#if defined(SDN_EMULATION)
#include "cuda/emulation/shared_view.h"
#endif

namespace sdn::cuda::SDN_TARGET {

#if !defined(SDN_EMULATION)

template <class T>
class Shared {
  public:
    SDN_DEVICE explicit Shared(T* data) : data_(data) {}
    SDN_DEVICE T& operator[](int i) const { return data_[i]; }
    SDN_DEVICE Shared operator+(int i) const { return Shared(data_ + i); }
    template <int N>
    SDN_DEVICE Vec<T, N> read(int i) const {
        return *reinterpret_cast<const Vec<T, N>*>(data_ + i);
    }
    template <int N>
    SDN_DEVICE void write(int i, const Vec<T, N>& value) const {
        *reinterpret_cast<Vec<T, N>*>(data_ + i) = value;
    }
    SDN_DEVICE uint32_t address() const { return static_cast<uint32_t>(__cvta_generic_to_shared(data_)); }

  private:
    T* data_;
};

// The array of `count` elements that begins `offset` bytes (a multiple of 16) into the block's shared memory.
template <class T>
SDN_DEVICE Shared<T> shared_array(int offset, [[maybe_unused]] int count) {
    extern __shared__ __align__(128) unsigned char sdn_shared_memory[];
    return Shared<T>(reinterpret_cast<T*>(sdn_shared_memory + offset));
}

#endif

}  // namespace sdn::cuda::SDN_TARGET
