// A sum over all threads of a block.
#pragma once

#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

inline constexpr int kBlockSumFloats = 32;  // of shared memory: one per warp

// The same bits in all threads, and on every run. `sums` may be used again at once.
SDN_DEVICE float block_sum(float value, Shared<float> sums) {
    value = warp_sum(value);
    if (lane_index() == 0) sums[warp_index()] = value;
    sync_block();
    float total = 0;
    for (int i = 0; i < block_threads() / kWarpThreads; ++i) total += sums[i];
    sync_block();
    return total;
}

}  // namespace sdn::cuda::SDN_TARGET
