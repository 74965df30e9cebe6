// The packed weight of cpu/kernel_api.h: ceil(N / kPanelColumns) panels, each [K, kPanelColumns] row-major, its columns being outputs
// (padded with zeros) and K ordered (ky, kx, c). A geglu panel holds kPanelColumns/2 values and then their gates: output j and j + N/2 of
// the logical weight lie side by side, so the microkernel's two vectors are a value and its gate. With `pairs`, K is even, storage is
// bfloat16 and a panel is [K/2, kPanelColumns, 2]: the microkernel takes a column's k and k+1 as one element. In SDN_INT8, K is a multiple
// of 4 and a panel is [K/4, kPanelColumns, 4]; each block of K has its scales, one per column.
#pragma once

#include "cpu/gemm/layout.inl.h"

namespace sdn::cpu::SDN_ISA {

SDN_INLINE int64_t bytes_of(int32_t dtype) {
    return dtype == SDN_FLOAT64 ? 8 : dtype == SDN_FLOAT32 ? 4 : dtype == SDN_INT8 ? 1 : 2;
}

// How many k the microkernel takes at once: 2 of pairs, 4 of bytes.
SDN_INLINE int64_t terms_of(const PackedMatrix& m) {
    return m.storage == SDN_INT8 ? 4 : m.pairs ? 2 : 1;
}

struct Place {
    int64_t panel, column;
};

// Where output `row` of the logical weight lies.
SDN_INLINE Place place_of(const PackedMatrix& m, int64_t row) {
    if (!m.geglu) return {row / kPanelColumns, row % kPanelColumns};
    const int64_t half = m.rows / 2;
    return {row % half / kLanes, row % half % kLanes + (row < half ? 0 : kLanes)};
}

// Where element k of a panel's column lies.
SDN_INLINE int64_t packed_index(const PackedMatrix& m, int64_t panel, int64_t column, int64_t k) {
    const int64_t terms = terms_of(m);
    return panel * m.columns * kPanelColumns + (k / terms * kPanelColumns + column) * terms + k % terms;
}

// What the microkernel takes as K.
SDN_INLINE int64_t steps_of(const PackedMatrix& m) {
    return m.columns / terms_of(m);
}

// Where the scales (and sums) of a panel's block of K begin.
SDN_INLINE int64_t scale_index(const PackedMatrix& m, int64_t panel, int64_t block) {
    return (panel * depth_blocks(steps_of(m)).count + block) * kPanelColumns;
}

// pack_rows() and unpack() of SDN_INT8, for sets that multiply bytes.
void pack_bytes(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count);
void unpack_bytes(const PackedMatrix& m, float* values);

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

#if defined(SDN_MULTIPLIES_HALVES)
// The same of a matrix of halves, as float16: where they lie, or converted into `buffer` (depth * kPanelColumns of them).
SDN_INLINE const void* half_panel_block(const PackedMatrix& m, int64_t panel, int64_t k, int64_t depth, void* buffer) {
    const uint16_t* const source = static_cast<const uint16_t*>(m.data) + (panel * m.columns + k) * kPanelColumns;
    if (m.storage == SDN_FLOAT16) return source;
    const vec factor = broadcast(1 / m.half_unit);
    for (int64_t i = 0; i < depth * kPanelColumns; i += kLanes)
        store_float16(static_cast<uint16_t*>(buffer) + i, load_bfloat16(source + i) * factor);
    return buffer;
}
#endif

SDN_INLINE int64_t bytes_of_step(const PackedMatrix& m) {
    return kPanelColumns * terms_of(m) * bytes_of(m.storage);
}

// The block of a panel from a step on, as it lies in memory.
SDN_INLINE const void* stored_panel_block(const PackedMatrix& m, int64_t panel, int64_t step) {
    return static_cast<const char*>(m.data) + (panel * steps_of(m) + step) * bytes_of_step(m);
}

}  // namespace sdn::cpu::SDN_ISA
