// The packed weight of cpu/kernel_api.h: ceil(N / kPanelColumns) panels, each [K, kPanelColumns] row-major, its columns being outputs
// (padded with zeros) and K ordered (ky, kx, c). A geglu panel holds kPanelColumns/2 values and then their gates: output j and j + N/2 of
// the logical weight lie side by side, so the microkernel's two vectors are a value and its gate. With `pairs`, K is even, storage is
// bfloat16 and a panel is [K/2, kPanelColumns, 2]: the microkernel takes a column's k and k+1 as one element.
#pragma once

#include "cpu/gemm/layout.inl.h"

namespace sdn::cpu::SDN_ISA {

SDN_INLINE int64_t bytes_of(int32_t dtype) {
    return dtype == SDN_FLOAT64 ? 8 : dtype == SDN_FLOAT32 ? 4 : 2;
}

// Where element k of a panel's column lies.
SDN_INLINE int64_t packed_index(const PackedMatrix& m, int64_t panel, int64_t column, int64_t k) {
    const int64_t first = panel * m.columns * kPanelColumns;
    return m.pairs ? first + (k / 2 * kPanelColumns + column) * 2 + k % 2 : first + k * kPanelColumns + column;
}

// What the microkernel takes as K: pairs count once.
SDN_INLINE int64_t steps_of(const PackedMatrix& m) {
    return m.pairs ? m.columns / 2 : m.columns;
}

// Rows [k, k + depth) of a panel in float32: where they lie, or widened into `buffer` (depth * kPanelColumns floats).
SDN_INLINE const float* panel_block(const PackedMatrix& m, int64_t panel, int64_t k, int64_t depth, float* buffer) {
    const int64_t start = (panel * m.columns + k) * kPanelColumns;
    const int64_t count = depth * kPanelColumns;
    if (m.storage == SDN_FLOAT32) return static_cast<const float*>(m.data) + start;
    const uint16_t* source = static_cast<const uint16_t*>(m.data) + start;
    if (m.storage == SDN_FLOAT16) {
        for (int64_t i = 0; i < count; i += kLanes) store(buffer + i, load_float16(source + i));
    } else {
        for (int64_t i = 0; i < count; i += kLanes) store(buffer + i, load_bfloat16(source + i));
    }
    return buffer;
}

SDN_INLINE int64_t bytes_of_step(const PackedMatrix& m) {
    return kPanelColumns * (m.pairs ? 4 : bytes_of(m.storage));
}

// The block of a panel from a step on, as it lies in memory.
SDN_INLINE const void* stored_panel_block(const PackedMatrix& m, int64_t panel, int64_t step) {
    return static_cast<const char*>(m.data) + (panel * steps_of(m) + step) * bytes_of_step(m);
}

}  // namespace sdn::cpu::SDN_ISA
