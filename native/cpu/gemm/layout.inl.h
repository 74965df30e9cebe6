// The sizes that the packed weights, the blocks of a mainloop and the microkernel agree on.
//
// out[M,N] = x[M,K] w[N,K]^T is computed as: for every block of rows, for every block of K: copy x into a block of kRowStride floats per
// row (the loader's work); for every panel of kPanelColumns columns: the microkernel multiplies kMicroRows rows at a time.
#pragma once

#include "cpu/simd/vec.inl.h"

namespace sdn::cpu::SDN_ISA {

constexpr int kPanelColumns = 2 * kLanes;
constexpr int kMicroRows = kLanes == 16 ? 14 : kLanes == 8 ? 6 : 4;  // 2 * kMicroRows sums, 2 weights and 1 x fit the registers
constexpr int kHalfRows = 2 * kMicroRows;                            // of halves, whose panel is one vector wide

constexpr int64_t kMaxDepth = 384;              // longest block of K, in steps: a panel's block of it stays in the level-2 cache
constexpr int64_t kRowStride = kMaxDepth + 16;  // an odd number of cache lines, so that rows do not compete for cache sets
constexpr int64_t kStagedRows = 8;              // of x that are rounded to pairs at a time: they stay in the level-1 cache
constexpr int64_t kStagedByteRows = 4;          // ... to bytes, of which a step takes four

SDN_INLINE int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
SDN_INLINE int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}
SDN_INLINE int64_t max_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

// That share the microkernel's additions to addresses and its fetching, which compete with multiply-adds.
constexpr int64_t kUnrolledSteps = 4;

constexpr int64_t kLongestChain = 64;  // of sums of halves; a multiple of kUnrolledSteps

// The length of about equal chains of at most `longest` steps, a multiple of kUnrolledSteps.
SDN_INLINE int64_t chain_of(int64_t steps, int64_t longest) {
    return ceil_div(ceil_div(steps, ceil_div(steps, longest)), kUnrolledSteps) * kUnrolledSteps;
}

// Memory to fetch during the steps of microkernels: `stride` bytes further with each. Any address will do.
struct Upcoming {
    const char* at;
    int64_t stride;

    // All of `bytes` in so many steps or, where they are few, as much as a line per step allows. Evenly, for a burst would keep the loads
    // of a and b waiting.
    static SDN_INLINE Upcoming spread(const void* at, int64_t bytes, int64_t steps) {
        return {static_cast<const char*>(at), max_of(1, min_of(64, ceil_div(bytes, steps)))};
    }
    // Where the level-2 cache has what comes next. It takes any address.
    static SDN_INLINE Upcoming nothing(const void* at) { return {static_cast<const char*>(at), 0}; }
    SDN_INLINE void skip(int64_t steps) { at += steps * stride; }
    // Fetches what kUnrolledSteps are to fetch: mostly one line, for each more of them costs the multiply-adds about 1 %.
    SDN_INLINE void fetch_some() {
        prefetch(at);
        if (stride * kUnrolledSteps > 64) {
            SDN_UNROLL for (int64_t i = 1; i < kUnrolledSteps; ++i) prefetch(at + i * stride);
        }
        skip(kUnrolledSteps);
    }
};

// K is cut into equal blocks. They depend on K only: every output is the sum over blocks, in order, of each block's sum in order,
// whatever the tiles and the number of threads.
struct DepthBlocks {
    int64_t count, depth;
};
SDN_INLINE DepthBlocks depth_blocks(int64_t k) {
    const int64_t count = ceil_div(k, kMaxDepth);
    const int64_t depth = ceil_div(ceil_div(k, count), 16) * 16;
    return {ceil_div(k, depth), depth};
}

}  // namespace sdn::cpu::SDN_ISA
