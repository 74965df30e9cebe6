#include "cpu/gemm/tiling.inl.h"

#include "cpu/gemm/pack.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kMostRows = 128;         // of a tile: its block of x is 200 KiB, so block, sums and weights share 1 MiB
constexpr int64_t kMostColumns = 640;      // of a tile: its sums are 320 KiB
constexpr int64_t kMostWork = 1000000000;  // multiply-adds of a tile: tens of milliseconds on any machine with vectors
constexpr int64_t kLeastWork = 2000000;    // ... and not much less than 0.1 ms

// Time of the whole product per thread, in quarters of a vector multiply-add: the last round of tiles may leave threads without work, each
// tile copies its rows of x once and reads its weights once. Halves are multiplied twice and bytes four times as fast, and rounding x to
// them costs.
int64_t estimated_time(int64_t rows, const PackedMatrix& weight, Tiling t, int threads) {
    const int64_t tile_rows = ceil_div(rows, t.row_tiles);
    const int64_t tile_panels = ceil_div(weight.panel_count, t.panel_tiles);
    const int64_t rounds = ceil_div(t.row_tiles * t.panel_tiles, threads);
    const bool bytes = weight.storage == SDN_INT8, halves = weight.halves;
    const int64_t product = bytes ? 2 : halves ? 4 : 8, row = bytes || halves ? 2 : 1, panel = bytes ? 4 : halves ? 8 : 16;
    return rounds * (tile_rows * tile_panels * product + tile_rows * row + tile_panels * panel) * weight.columns;
}

}  // namespace

Tiling choose_tiling(int64_t rows, const PackedMatrix& weight, int threads) {
    const int64_t panels = weight.panel_count;
    const int64_t least_row_tiles = ceil_div(rows, kMostRows);
    Tiling best{0, 0};
    int64_t best_time = 0;
    for (int64_t row_tiles = least_row_tiles; row_tiles <= min_of(rows, least_row_tiles + 8); ++row_tiles) {
        const int64_t tile_rows = ceil_div(rows, row_tiles);
        const int64_t column_work = tile_rows * weight.columns;
        const int64_t columns = max_of(kPanelColumns, min_of(kMostColumns, kMostWork / column_work));
        const int64_t least_panel_tiles = ceil_div(panels, columns / kPanelColumns);
        for (int64_t panel_tiles = least_panel_tiles; panel_tiles <= min_of(panels, least_panel_tiles + 16); ++panel_tiles) {
            const Tiling t{row_tiles, panel_tiles};
            const int64_t work = column_work * ceil_div(panels, panel_tiles) * kPanelColumns;
            if (best_time > 0 && work < kLeastWork) break;
            const int64_t time = estimated_time(rows, weight, t, threads);
            if (best_time == 0 || time < best_time) best = t, best_time = time;
        }
    }
    return best;
}

TileScratch tile_scratch(int64_t rows, const PackedMatrix& weight, Tiling tiling) {
    const DepthBlocks blocks = depth_blocks(steps_of(weight));
    const int64_t tile_rows = ceil_div(rows, tiling.row_tiles);
    const int64_t panels = blocks.count > 1 ? ceil_div(weight.panel_count, tiling.panel_tiles) : 1;
    const int64_t sum_rows = blocks.count > 1 ? tile_rows : weight.halves ? kHalfRows : kMicroRows;
    TileScratch s;
    s.block_bytes = ceil_div(tile_rows * kRowStride * (weight.halves ? 2 : 4), 64) * 64;
    s.staging_bytes = weight.halves                   ? max_of(kStagedRows * kRowStride * 4, blocks.depth * kPanelColumns * 2)
                      : weight.storage == SDN_FLOAT32 ? 0
                      : weight.storage == SDN_INT8    ? kStagedByteRows * 4 * kRowStride * 4
                      : weight.pairs                  ? kStagedRows * 2 * kRowStride * 4
                                                      : blocks.depth * kPanelColumns * 4;
    s.scales_bytes = weight.storage == SDN_INT8 || weight.halves ? ceil_div(tile_rows, 16) * 64 : 0;
    s.sums_bytes = sum_rows * panels * kPanelColumns * 4;
    s.keeps_sums = blocks.count > 1;
    return s;
}

}  // namespace sdn::cpu::SDN_ISA
