// primitives/mma.h in emulation: the last thread of the warp to come does it for all.
#pragma once

#include "cuda/emulation/running.h"
#include "cuda/emulation/shared_view.h"

namespace sdn::cuda::SDN_TARGET {

template <class T>
SDN_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             emulation::Site site = emulation::Site::current()) {
    static_assert(is_16_bit<T>);
    emulation::mma_m16n8k16(d, a, b, std::is_same_v<T, half>, site);
}

template <bool Transposed, int Count, class T>
SDN_DEVICE void load_matrices(uint32_t (&r)[Count], Shared<T> row, emulation::Site site = emulation::Site::current()) {
    static_assert(Count == 1 || Count == 2 || Count == 4, "ldmatrix loads 1, 2 or 4 matrices");
    emulation::load_matrices(row.place(), Count, Transposed, r, site);
}

}  // namespace sdn::cuda::SDN_TARGET
