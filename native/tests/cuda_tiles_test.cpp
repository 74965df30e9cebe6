// The choice of tiles: cuda/tuning/tiles.h.
#include "cuda/tuning/tiles.h"

#include <gtest/gtest.h>

#include <string>

namespace sdn::test {

namespace {

using namespace cuda::tuning;

struct Size {
    int64_t m, n, k, phases;
};

// architecture, multiprocessors, threads, shared memory per block and multiprocessor, L2: the CUDA programming guide's table of compute
// capabilities and the vendor's data sheets.
constexpr cuda::Limits kA100{80, 108, 2048, 166912, 167936, int64_t{40} << 20};
constexpr cuda::Limits kRtx3060{86, 28, 1536, 101376, 102400, int64_t{3} << 20};
constexpr cuda::Limits kRtx4090{89, 128, 1536, 101376, 102400, int64_t{72} << 20};
constexpr cuda::Limits kH200{90, 132, 2048, 232448, 233472, int64_t{50} << 20};

}  // namespace

TEST(CudaTiles, AnySizeOnAnyDevice_FitsAndCoversK) {
    for (const cuda::Limits& limits : {kA100, kRtx3060, kRtx4090, kH200})
        for (const int64_t m : {1, 17, 128, 512, 8192, 262144})
            for (const int64_t n : {1, 8, 320, 1280, 10240})
                for (const int64_t k : {8, 64, 72, 2880, 23040})
                    for (const int64_t phases : {1, 4}) {
                        const Plan plan = choose_tile(m, n, k, phases, limits);
                        const std::string text = std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) + " on sm_" +
                                                 std::to_string(limits.architecture);
                        ASSERT_GE(plan.stages, 2) << text;
                        EXPECT_LE(shared_bytes(kTiles[plan.tile], plan.stages), limits.shared_per_block) << text;
                        ASSERT_GE(plan.splits, 1) << text;
                        EXPECT_LE(plan.splits, kMostSplits) << text;
                        const int64_t depths = (k + kDepth - 1) / kDepth;
                        EXPECT_GE(int64_t{plan.splits} * plan.depths_per_split, depths) << text;
                        EXPECT_LT(int64_t{plan.splits - 1} * plan.depths_per_split, depths) << text << ": an empty split";
                    }
}

// The layers that SD 1.5 spends its time in, for a guided step at 512x512: one block on at least 9 of 10 multiprocessors, on none two.
TEST(CudaTiles, LayersOfStableDiffusionOnAnH200_AreOneWave) {
    for (const Size& s : {Size{8192, 320, 2880, 1}, Size{2048, 640, 5760, 1}, Size{512, 1280, 11520, 1}, Size{128, 1280, 11520, 1},
                          Size{8192, 320, 1280, 1}, Size{512, 1280, 5120, 4}}) {
        const Plan plan = choose_tile(s.m, s.n, s.k, s.phases, kH200);
        const TileChoice& tile = kTiles[plan.tile];
        const int64_t blocks = (s.m + tile.m - 1) / tile.m * ((s.n + tile.n - 1) / tile.n) * s.phases * plan.splits;
        EXPECT_GE(blocks * 10, 9 * kH200.multiprocessors) << s.m << " x " << s.n << " x " << s.k;
        EXPECT_LE(blocks, kH200.multiprocessors) << s.m << " x " << s.n << " x " << s.k;
    }
}

}  // namespace sdn::test
