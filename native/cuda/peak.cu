// Computes:  nothing of use: multiply-adds on the tensor cores, as many as they can do, to measure them.
// Shapes:    none.
// Algorithm: each warp multiplies 8 independent accumulators by the same fragments, from registers.
// Launch:    4 blocks of 256 threads per multiprocessor, no shared memory.
#include "cuda/launchers.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kAccumulators = 8, kThreads = 256, kUnroll = 16;

SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 4) mma_loop(float* sink, int64_t steps) {
    float sums[kAccumulators][4] = {};
    const uint32_t lane = static_cast<uint32_t>(lane_index());
    const uint32_t a[4] = {lane, lane + 1, lane + 2, lane + 3}, b[2] = {lane, lane + 5};
    for (int64_t step = 0; step < steps; ++step) {
        for (int i = 0; i < kUnroll; ++i) {
            SDN_UNROLL
            for (int j = 0; j < kAccumulators; ++j) mma_m16n8k16<half>(sums[j], a, b);
        }
    }
    float total = 0;
    SDN_UNROLL
    for (int j = 0; j < kAccumulators; ++j) total += sums[j][0] + sums[j][1] + sums[j][2] + sums[j][3];
    if (total == 12345.0f) *sink = total;  // never: keeps the loop
}

}  // namespace

double peak_loop(Queue& queue, int64_t steps) {
    const int64_t blocks = int64_t{4} * queue.limits.multiprocessors;
    launch(queue, "sm80_mma_peak", mma_loop, {blocks}, kThreads, 0, static_cast<float*>(nullptr), steps);
    return static_cast<double>(blocks) * (kThreads / kWarpThreads) * static_cast<double>(steps) * kUnroll * kAccumulators * 2 * 16 * 8 * 16;
}

}  // namespace sdn::cuda::SDN_TARGET
