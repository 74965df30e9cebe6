// How a matrix product is cut into tiles: rows x panels.
#pragma once

#include "cpu/gemm/layout.inl.h"

namespace sdn::cpu::SDN_ISA {

struct Tiling {
    int64_t row_tiles, panel_tiles;
};

// What a thread needs for one tile.
struct TileScratch {
    int64_t block_bytes;    // of x
    int64_t staging_bytes;  // a panel's block widened to float32, where it is stored in 16 bits; rows of x to be rounded to pairs, halves
                            // or bytes
    int64_t scales_bytes;   // of the block's rows, where they are halves or bytes
    int64_t sums_bytes;     // of the tile, or of one microkernel call where K is a single block
    bool keeps_sums;

    SDN_INLINE int64_t total_bytes() const { return ceil_div(block_bytes + staging_bytes + scales_bytes + sums_bytes, 64) * 64; }
};

Tiling choose_tiling(int64_t rows, const PackedMatrix& weight, int threads);
TileScratch tile_scratch(int64_t rows, const PackedMatrix& weight, Tiling tiling);

}  // namespace sdn::cpu::SDN_ISA
