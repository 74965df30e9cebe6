// Which tile a matrix product is cut into, and how often its K: a model of the time each choice takes. It depends on shapes and the
// device's limits only, so that measuring an exec takes the scratch that running it does. Units: cycles of a multiprocessor.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "cuda/kernel_api.h"

namespace sdn::cuda::tuning {

constexpr int kDepth = 64;  // k per stage of shared memory
constexpr int kMostSplits = 16, kMostStages = 5;

struct TileChoice {
    int16_t m, n;  // sums per block of threads
    int16_t warp_columns;
    int16_t slices;    // groups of warps that share a stage's k
    int16_t resident;  // blocks a multiprocessor's registers hold
    // Share of the tensor cores' rate, assumed, not measured: with `resident` blocks on a multiprocessor, and alone.
    double full_rate, lone_rate;
};

enum {
    kTile128x160 = 0,
    kTile128x160Sliced = 1,
    kTile128x128 = 2,
    kTile128x64 = 3,
    kTile64x160Sliced = 4,
    kTile64x80Sliced = 5,
    kTile64x64 = 6,
    kTileCount = 7
};
inline constexpr TileChoice kTiles[kTileCount] = {
    {128, 160, 2, 1, 2, 0.85, 0.65}, {128, 160, 2, 2, 1, 0.82, 0.82}, {128, 128, 2, 1, 2, 0.82, 0.62}, {128, 64, 2, 1, 3, 0.70, 0.45},
    {64, 160, 2, 2, 1, 0.62, 0.62},  {64, 80, 1, 2, 3, 0.58, 0.42},   {64, 64, 2, 1, 3, 0.50, 0.30},
};

struct Plan {
    int32_t tile = 0;
    int32_t splits = 1;
    int32_t depths_per_split = 1;  // of kDepth
    int32_t stages = 2;
    double cycles = 0;
};

// What a multiprocessor does per cycle.
struct Rates {
    double multiply_adds;  // by mma.sync, float16 with float32 sums
    double l2_bytes;       // of its share
    double dram_bytes;
};
inline Rates rates_of(const Limits& limits) {
    if (limits.architecture >= 90) return {1270, 30, 18};  // mma.sync reaches 62 % of a Hopper's tensor cores
    if (limits.architecture == 80) return {1024, 30, 12};
    return {512, 24, 4};
}

constexpr double kBlockOverhead = 2000;   // filling the ring and the epilogue, where no other block covers them
constexpr double kLaunchOverhead = 3500;  // of the second kernel that a split needs

inline int64_t ceil_of(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// Of a block. The static assertions of gemm/sm80_kernels.cuh hold it against the kernels.
constexpr int shared_bytes(const TileChoice& tile, int stages) {
    const int ring = stages * (tile.m + tile.n) * kDepth * 2, epilogue = tile.m * (tile.n + 8 * tile.warp_columns) * 4;
    return tile.m * 16 + (ring > epilogue ? ring : epilogue);
}

// Blocks of a tile that a multiprocessor holds with `stages` stages each; 0: none.
inline int resident_blocks(const TileChoice& tile, int stages, const Limits& limits) {
    const int64_t bytes = shared_bytes(tile, stages);
    if (bytes > limits.shared_per_block) return 0;
    const int64_t fit = limits.shared_per_multiprocessor / (bytes + 1024);  // the driver keeps 1 KiB of each block
    return static_cast<int>(fit < tile.resident ? (fit < 1 ? 1 : fit) : tile.resident);
}

// The most stages, at most 4, that leave the registers' number of blocks; where those would be fewer than 3, 3 with fewer blocks.
inline int stages_for(const TileChoice& tile, const Limits& limits) {
    for (int stages = 4; stages >= 3; --stages)
        if (resident_blocks(tile, stages, limits) == tile.resident) return stages;
    for (int stages = 4; stages >= 3; --stages)
        if (resident_blocks(tile, stages, limits) > 0) return stages;
    return resident_blocks(tile, 2, limits) > 0 ? 2 : 0;
}

inline double cycles_of(const Plan& plan, int64_t m, int64_t n, int64_t k, int64_t phases, const Limits& limits) {
    const TileChoice& tile = kTiles[plan.tile];
    const Rates rates = rates_of(limits);
    const int64_t blocks = ceil_of(m, tile.m) * ceil_of(n, tile.n) * phases * plan.splits;
    const int64_t per_multiprocessor = ceil_of(blocks, limits.multiprocessors);
    const int resident = resident_blocks(tile, plan.stages, limits);
    const double rate = per_multiprocessor >= 2 && resident >= 2 ? tile.full_rate : tile.lone_rate;
    const double products = double(tile.m) * tile.n * kDepth / (rates.multiply_adds * rate);
    const double loads = double(tile.m + tile.n) * kDepth * 2 / rates.l2_bytes;
    const double depth = products > loads ? products : loads;
    const double alone = per_multiprocessor >= 2 && resident >= 2 ? 1.0 : static_cast<double>(per_multiprocessor);
    double cycles = static_cast<double>(per_multiprocessor) * plan.depths_per_split * depth + alone * kBlockOverhead;
    const double weights = static_cast<double>(n * k * phases) * 2 / (rates.dram_bytes * limits.multiprocessors);
    if (cycles < weights) cycles = weights;
    if (plan.splits > 1) {
        const double partials = static_cast<double>(plan.splits * phases * m * n) * 4;
        cycles += 2 * partials / (rates.l2_bytes * limits.multiprocessors) + kLaunchOverhead;
    }
    return cycles;
}

// For tuning and tests: SDN_CUDA_TILE="tile splits stages" takes that tile for every product, with at most that many splits and stages.
inline bool forced_tile(int64_t depths, const Limits& limits, Plan* plan) {
    const char* const text = std::getenv("SDN_CUDA_TILE");
    int tile = 0, splits = 0, stages = 0;
    if (text == nullptr || std::sscanf(text, "%d %d %d", &tile, &splits, &stages) != 3) return false;
    if (tile < 0 || tile >= kTileCount || splits < 1 || stages < 2 || stages > kMostStages) return false;
    while (stages > 2 && resident_blocks(kTiles[tile], stages, limits) == 0) --stages;
    plan->tile = tile;
    plan->stages = stages;
    plan->depths_per_split = static_cast<int32_t>(ceil_of(depths, splits));
    plan->splits = static_cast<int32_t>(ceil_of(depths, plan->depths_per_split));
    return true;
}

inline Plan choose_tile(int64_t m, int64_t n, int64_t k, int64_t phases, const Limits& limits) {
    const int64_t depths = ceil_of(k, kDepth);
    Plan best;
    if (forced_tile(depths, limits, &best)) return best;
    for (int32_t i = 0; i < kTileCount; ++i) {
        Plan plan;
        plan.tile = i;
        plan.stages = stages_for(kTiles[i], limits);
        if (plan.stages == 0) continue;
        for (int64_t splits = 1; splits <= kMostSplits && splits <= depths; ++splits) {
            plan.depths_per_split = static_cast<int32_t>(ceil_of(depths, splits));
            if (ceil_of(depths, plan.depths_per_split) != splits) continue;  // fewer would do the same
            plan.splits = static_cast<int32_t>(splits);
            plan.cycles = cycles_of(plan, m, n, k, phases, limits);
            if (best.cycles == 0 || plan.cycles < best.cycles) best = plan;
        }
    }
    return best;
}

}  // namespace sdn::cuda::tuning
