// What happens to a finished sum: out = activation(sum + bias + channel_add) + residual. See linear.cpp and conv2d.cpp.
#pragma once

#include "cpu/gemm/layout.inl.h"
#include "cpu/simd/math.inl.h"

namespace sdn::cpu::SDN_ISA {

struct Epilogue {
    float* out = nullptr;                // [M, columns]
    int64_t columns = 0;                 // outputs; half the weight's rows with geglu
    const float* bias = nullptr;         // in packed column order, or nullptr
    const float* residual = nullptr;     // [M, columns] or nullptr
    const float* channel_add = nullptr;  // [M / rows_per_add, columns] or nullptr
    int64_t rows_per_add = 1;
    int32_t activation = SDN_ACTIVATION_NONE;

    // Columns of `out` that a panel yields.
    int64_t columns_per_panel() const { return activation == SDN_ACTIVATION_GEGLU ? kLanes : kPanelColumns; }
    // Begins to fetch the memory that apply() will touch, so that it comes while the tile is multiplied. Inlined by force: gcc takes a
    // function that only prefetches for one without effect and drops its calls.
    SDN_INLINE void fetch(int64_t row, int64_t rows, int64_t panel) const {
        const int64_t width = columns_per_panel();
        for (int64_t r = row; r < row + rows; ++r) {
            const int64_t at = r * columns + panel * width;
            prefetch_floats(out + at, width);
            if (residual) prefetch_floats(residual + at, width);
        }
    }
    // Writes a tile of finished sums [rows, kPanelColumns], `stride` apart: rows [row, row + rows) of out and the columns of `panel`.
    void apply(const float* sums, int64_t stride, int64_t row, int64_t rows, int64_t panel) const;
};

}  // namespace sdn::cpu::SDN_ISA
