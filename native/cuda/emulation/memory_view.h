// Global memory in emulation: plain host memory, where a vector's address must be a multiple of its size.
#pragma once

#include "cuda/emulation/running.h"
#include "cuda/primitives/target.h"

namespace sdn::cuda::SDN_TARGET {

SDN_DEVICE void require_aligned(const void* address, int64_t bytes) {
    if (reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(bytes) != 0) emulation::misaligned(address, bytes);
}

}  // namespace sdn::cuda::SDN_TARGET
