// primitives/thread.h in emulation.
#pragma once

#include <bit>
#include <type_traits>

#include "cuda/emulation/running.h"
#include "cuda/primitives/target.h"

namespace sdn::cuda::SDN_TARGET {

SDN_DEVICE int thread_index() {
    return emulation::running.thread;
}
SDN_DEVICE int block_threads() {
    return emulation::running.threads;
}
SDN_DEVICE int64_t block_x() {
    return emulation::running.block[0];
}
SDN_DEVICE int64_t block_y() {
    return emulation::running.block[1];
}
SDN_DEVICE int64_t block_z() {
    return emulation::running.block[2];
}
SDN_DEVICE int64_t grid_x() {
    return emulation::running.grid[0];
}
SDN_DEVICE int64_t grid_y() {
    return emulation::running.grid[1];
}
SDN_DEVICE int64_t grid_z() {
    return emulation::running.grid[2];
}

// The place in the source from which each of these is called is what threads must agree on.
SDN_DEVICE void sync_block(emulation::Site site = emulation::Site::current()) {
    emulation::sync_block(site);
}
SDN_DEVICE void sync_warp(emulation::Site site = emulation::Site::current()) {
    emulation::sync_warp(site);
}
SDN_DEVICE bool sync_block_or(bool value, emulation::Site site = emulation::Site::current()) {
    return emulation::sync_block_or(value, site);
}

template <class T>
SDN_DEVICE T exchange(emulation::Stop stop, T value, int from_lane, emulation::Site site) {
    static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "warps exchange float, double, int32_t and uint32_t");
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    return std::bit_cast<T>(static_cast<Bits>(emulation::exchange(stop, std::bit_cast<Bits>(value), from_lane, site)));
}
template <class T>
SDN_DEVICE T shuffle(T value, int from_lane, emulation::Site site = emulation::Site::current()) {
    return exchange(emulation::Stop::shuffle, value, from_lane, site);
}
template <class T>
SDN_DEVICE T shuffle_xor(T value, int lane_mask, emulation::Site site = emulation::Site::current()) {
    return exchange(emulation::Stop::shuffle_xor, value, thread_index() ^ lane_mask, site);
}
template <class T>
SDN_DEVICE T shuffle_down(T value, int distance, emulation::Site site = emulation::Site::current()) {
    const int lane = thread_index() % kWarpThreads, from = lane + distance;
    return exchange(emulation::Stop::shuffle_down, value, from < kWarpThreads ? from : lane, site);
}
SDN_DEVICE uint32_t ballot(bool value, emulation::Site site = emulation::Site::current()) {
    return emulation::ballot(value, site);
}

}  // namespace sdn::cuda::SDN_TARGET
