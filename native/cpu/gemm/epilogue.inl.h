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
    // Writes a tile of finished sums [rows, kPanelColumns], `stride` apart: rows [row, row + rows) of out and the columns of `panel`.
    void apply(const float* sums, int64_t stride, int64_t row, int64_t rows, int64_t panel) const;
};

}  // namespace sdn::cpu::SDN_ISA
