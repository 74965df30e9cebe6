// The tile of sums of a block of threads.
#pragma once

#include "cuda/gemm/sm80.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

constexpr int kDepth = 64;                   // k per stage of shared memory
constexpr int kLineChunks = kDepth / 8;      // of 16 bytes in a row of a stage
constexpr int kStepsPerStage = kDepth / 16;  // k per mma: 16
constexpr int kPlaceBytes = 16;              // of a StoredRowPlace

// M x N sums; each warp has WarpM x WarpN of them. With two slices there are twice the warps, each half of them summing half of every
// stage: two warps per scheduler where the grid has but one block per multiprocessor.
template <int M_, int N_, int WarpM_, int WarpN_, int Slices_>
struct Tile {
    static constexpr int M = M_, N = N_, WarpM = WarpM_, WarpN = WarpN_, Slices = Slices_;
    static constexpr int WarpRows = M / WarpM, WarpColumns = N / WarpN;
    static constexpr int SliceThreads = WarpRows * WarpColumns * kWarpThreads;
    static constexpr int Threads = Slices * SliceThreads;
    static constexpr int Steps = kStepsPerStage / Slices;  // of a warp per stage
    static constexpr int RowTiles = WarpM / 16, ColumnTiles = WarpN / 8;
    static constexpr int StageElements = (M + N) * kDepth;
    static constexpr int StageBytes = StageElements * 2;
    static constexpr int BlocksPerMultiprocessor = Threads > 128 ? 1 : RowTiles* ColumnTiles >= 32 ? 2 : 3;

    // The epilogue takes the sums through shared memory, each warp its own.
    static constexpr int SlabRows = WarpM / Slices, SlabStride = WarpN + 8;  // floats; 8 or 24 modulo the 32 banks
    static constexpr int SlabBytes = SlabRows * SlabStride * 4;
    static constexpr int EpilogueBytes = Threads / kWarpThreads * SlabBytes;  // adding slices needs less

    static_assert(Slices == 1 || Slices == 2);
    static_assert(M % WarpM == 0 && N % WarpN == 0 && WarpM % 16 == 0 && WarpN % 16 == 0, "column tiles are loaded in pairs");

    static constexpr int shared_bytes(int stages) { return M * kPlaceBytes + max_of(stages * StageBytes, EpilogueBytes); }
};

// The tiles there are; tuning/tiles.h chooses one by its index.
using Tile128x160 = Tile<128, 160, 64, 80, 1>;
using Tile128x160Sliced = Tile<128, 160, 64, 80, 2>;
using Tile128x128 = Tile<128, 128, 64, 64, 1>;
using Tile128x64 = Tile<128, 64, 64, 32, 1>;
using Tile64x160Sliced = Tile<64, 160, 32, 80, 2>;
using Tile64x80Sliced = Tile<64, 80, 32, 80, 2>;
using Tile64x64 = Tile<64, 64, 32, 32, 1>;

// Tiles are walked in bands of this many rows of tiles, down first: the blocks that run together share rows of A and of the weight.
constexpr int kBand = 8;

struct TilePlace {
    int32_t row, column;  // the first
};

template <class Tile>
SDN_DEVICE TilePlace tile_place(const TensorProduct& t, int64_t index) {
    const int32_t i = static_cast<int32_t>(index), band_tiles = kBand * t.column_tiles, band = i / band_tiles;
    const int32_t rows = min_of(kBand, t.row_tiles - band * kBand), within = i - band * band_tiles;
    return {(band * kBand + within % rows) * Tile::M, within / rows * Tile::N};
}

}  // namespace sdn::cuda::SDN_TARGET
