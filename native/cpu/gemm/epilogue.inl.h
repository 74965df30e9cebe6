// What happens to a finished sum: out = activation(sum + bias + channel_add) + residual. See linear.cpp and conv2d.cpp.
#pragma once

#include "cpu/gemm/layout.inl.h"
#include "cpu/simd/math.inl.h"

namespace sdn::cpu::SDN_ISA {

struct Epilogue {
    float* out = nullptr;                // [M, columns], rows row_floats apart
    int64_t columns = 0;                 // outputs; half the weight's rows with geglu
    int64_t row_floats = 0;              // of out, residual and channel_add
    const float* bias = nullptr;         // in packed column order, or nullptr
    const float* residual = nullptr;     // like out, or nullptr
    const float* channel_add = nullptr;  // [M / rows_per_add, columns] or nullptr
    int64_t rows_per_add = 1;
    int64_t phase_width = 0;  // not 0: row (b, y, x) of an image of this width is pixel (2y + phase_y, 2x + phase_x) of out
    int64_t phase_y = 0, phase_x = 0;
    int32_t activation = SDN_ACTIVATION_NONE;

    // Columns of `out` that a panel yields.
    int64_t columns_per_panel() const { return activation == SDN_ACTIVATION_GEGLU ? kLanes : kPanelColumns; }
    int64_t out_row(int64_t row) const {
        if (phase_width == 0) return row;
        return (row / phase_width * 2 + phase_y) * 2 * phase_width + row % phase_width * 2 + phase_x;
    }
    // Begins to fetch the memory that apply() will touch, so that it comes while the tile is multiplied. Inlined by force: gcc takes a
    // function that only prefetches for one without effect and drops its calls.
    SDN_INLINE void fetch(int64_t row, int64_t rows, int64_t panel) const {
        const int64_t width = columns_per_panel();
        for (int64_t r = row; r < row + rows; ++r) {
            const int64_t at = out_row(r) * row_floats + panel * width;
            prefetch_floats(out + at, width);
            if (residual) prefetch_floats(residual + at, width);
        }
    }
    // Writes a tile of finished sums [rows, kPanelColumns], `stride` apart: rows [row, row + rows) of out and the columns of `panel`.
    void apply(const float* sums, int64_t stride, int64_t row, int64_t rows, int64_t panel) const;
};

}  // namespace sdn::cpu::SDN_ISA
