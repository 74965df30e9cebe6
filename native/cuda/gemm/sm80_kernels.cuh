// The instantiations of the tensor-core mainloop for one 16-bit type: included by the .cu file of each, so that they compile side by side.
#pragma once

#include "cuda/gemm/sm80.h"
#include "cuda/gemm/sm80_mainloop.cuh"
#include "cuda/tuning/tiles.h"

namespace sdn::cuda::SDN_TARGET {

template <class Tile, int Choice>
constexpr bool is_the_choice() {
    constexpr tuning::TileChoice choice = tuning::kTiles[Choice];
    return Tile::M == choice.m && Tile::N == choice.n && Tile::Slices == choice.slices &&
           Tile::BlocksPerMultiprocessor == choice.resident && kDepth == tuning::kDepth &&
           Tile::shared_bytes(2) == tuning::shared_bytes(choice, 2) && Tile::shared_bytes(4) == tuning::shared_bytes(choice, 4);
}
static_assert(is_the_choice<Tile128x160, tuning::kTile128x160>() && is_the_choice<Tile128x160Sliced, tuning::kTile128x160Sliced>() &&
              is_the_choice<Tile128x128, tuning::kTile128x128>() && is_the_choice<Tile128x64, tuning::kTile128x64>() &&
              is_the_choice<Tile64x160Sliced, tuning::kTile64x160Sliced>() && is_the_choice<Tile64x80Sliced, tuning::kTile64x80Sliced>() &&
              is_the_choice<Tile64x64, tuning::kTile64x64>());

template <class T, class Tile, template <class, class> class LoaderOf>
void launch_tile(Queue& queue, const char* name, TensorProduct t) {
    t.row_tiles = static_cast<int32_t>(ceil_div<int64_t>(t.p.m, Tile::M));
    t.column_tiles = static_cast<int32_t>(ceil_div<int64_t>(t.p.n, Tile::N));
    const Grid grid{int64_t{t.row_tiles} * t.column_tiles, t.splits, t.p.phases};
    launch(queue, name, sm80_gemm<T, Tile, LoaderOf>, grid, Tile::Threads, Tile::shared_bytes(t.stages), t);
}

template <class T>
void launch_sm80(Queue& queue, const char* name, int tile, bool gather, const TensorProduct& t) {
    if (gather) return launch_tile<T, Tile128x64, GatherLoader>(queue, name, t);
    switch (tile) {
        case tuning::kTile128x160:
            return launch_tile<T, Tile128x160, Loader>(queue, name, t);
        case tuning::kTile128x160Sliced:
            return launch_tile<T, Tile128x160Sliced, Loader>(queue, name, t);
        case tuning::kTile128x128:
            return launch_tile<T, Tile128x128, Loader>(queue, name, t);
        case tuning::kTile128x64:
            return launch_tile<T, Tile128x64, Loader>(queue, name, t);
        case tuning::kTile64x160Sliced:
            return launch_tile<T, Tile64x160Sliced, Loader>(queue, name, t);
        case tuning::kTile64x80Sliced:
            return launch_tile<T, Tile64x80Sliced, Loader>(queue, name, t);
        default:
            return launch_tile<T, Tile64x64, Loader>(queue, name, t);
    }
}

constexpr int kSplitsAtOnce = 4;

// Adds the splits of 8 columns in their order, and finishes them.
template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kSplitSumThreads, 1) sum_splits(const TensorProduct t) {
    const int64_t chunks = t.partial_stride / kChunk, index = block_x() * kSplitSumThreads + thread_index();
    const int64_t row_of_all = index / chunks, column = (index - row_of_all * chunks) * kChunk;
    if (row_of_all >= t.p.phases * t.p.m) return;
    const int phase = static_cast<int>(row_of_all / t.p.m);
    const int64_t plane = t.p.phases * t.p.m * t.partial_stride;
    const float* const source = t.partials + row_of_all * t.partial_stride + column;
    float sums[kChunk] = {};
    for (int first = 0; first < t.splits; first += kSplitsAtOnce) {  // so many loads are under way
        Vec<float, 4> low[kSplitsAtOnce], high[kSplitsAtOnce];
        SDN_UNROLL
        for (int s = 0; s < kSplitsAtOnce; ++s) {
            const float* const split = source + min_of(first + s, t.splits - 1) * plane;  // past the last: read, not added
            low[s] = load_vec<4>(split), high[s] = load_vec<4>(split + 4);
        }
        SDN_UNROLL
        for (int s = 0; s < kSplitsAtOnce; ++s) {
            if (first + s >= t.splits) break;
            SDN_UNROLL
            for (int i = 0; i < 4; ++i) sums[i] += low[s][i], sums[i + 4] += high[s][i];
        }
    }
    finish_chunk<T>(t.p.epilogue, row_of_all - phase * t.p.m, phase, column, t.p.n, sums);
}

template <class T>
void launch_split_sum(Queue& queue, const char* name, const TensorProduct& t) {
    const int64_t chunks = t.p.phases * t.p.m * (t.partial_stride / kChunk);
    launch(queue, name, sum_splits<T>, Grid{ceil_div<int64_t>(chunks, kSplitSumThreads)}, kSplitSumThreads, 0, t);
}

}  // namespace sdn::cuda::SDN_TARGET
