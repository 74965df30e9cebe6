// Who a thread is, barriers, and what the 32 threads of a warp exchange. Blocks are one-dimensional, grids up to three-dimensional.
#pragma once

#include "cuda/primitives/target.h"
#if defined(SDN_EMULATION)
#include "cuda/emulation/thread_view.h"
#endif

namespace sdn::cuda::SDN_TARGET {

#if !defined(SDN_EMULATION)

SDN_DEVICE int thread_index() {
    return static_cast<int>(threadIdx.x);
}
SDN_DEVICE int block_threads() {
    return static_cast<int>(blockDim.x);
}
SDN_DEVICE int64_t block_x() {
    return blockIdx.x;
}
SDN_DEVICE int64_t block_y() {
    return blockIdx.y;
}
SDN_DEVICE int64_t block_z() {
    return blockIdx.z;
}
SDN_DEVICE int64_t grid_x() {
    return gridDim.x;
}
SDN_DEVICE int64_t grid_y() {
    return gridDim.y;
}
SDN_DEVICE int64_t grid_z() {
    return gridDim.z;
}

// Every thread of the block arrives before any goes on; shared memory written before is seen after.
SDN_DEVICE void sync_block() {
    __syncthreads();
}
// The same for a warp.
SDN_DEVICE void sync_warp() {
    __syncwarp();
}
// True in all threads of the block when it is true in one.
SDN_DEVICE bool sync_block_or(bool value) {
    return __syncthreads_or(value) != 0;
}

// All 32 threads of the warp take part. T: float, double, int32_t or uint32_t.
template <class T>
SDN_DEVICE T shuffle(T value, int from_lane) {
    return __shfl_sync(0xffffffffu, value, from_lane);
}
template <class T>
SDN_DEVICE T shuffle_xor(T value, int lane_mask) {
    return __shfl_xor_sync(0xffffffffu, value, lane_mask);
}
template <class T>
SDN_DEVICE T shuffle_down(T value, int distance) {
    return __shfl_down_sync(0xffffffffu, value, distance);
}
SDN_DEVICE uint32_t ballot(bool value) {
    return __ballot_sync(0xffffffffu, value);
}

#endif

SDN_DEVICE int lane_index() {
    return thread_index() % kWarpThreads;
}
SDN_DEVICE int warp_index() {
    return thread_index() / kWarpThreads;
}

// The sum (maximum) over the warp, in all its threads: the same bits in each, and on every run.
template <class T>
SDN_DEVICE T warp_sum(T value) {
    SDN_UNROLL
    for (int mask = kWarpThreads / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
}
template <class T>
SDN_DEVICE T warp_max(T value) {
    SDN_UNROLL
    for (int mask = kWarpThreads / 2; mask > 0; mask /= 2) value = max_of(value, shuffle_xor(value, mask));
    return value;
}

}  // namespace sdn::cuda::SDN_TARGET
