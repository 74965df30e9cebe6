#include "cpu/gemm/pack.inl.h"

#include <cstring>

#include "core/dtype.h"
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

const int32_t panel_width = kPanelColumns;

namespace {

struct Place {
    int64_t panel, column;
};

// Where output `row` of the logical weight lies.
Place place_of(const PackedMatrix& m, int64_t row) {
    if (!m.geglu) return {row / kPanelColumns, row % kPanelColumns};
    const int64_t half = m.rows / 2;
    return {row % half / kLanes, row % half % kLanes + (row < half ? 0 : kLanes)};
}

// Calls visit(packed index, logical index) for every element of rows [first_row, first_row + row_count), the latter counted from
// first_row: packed is (ky, kx, c), logical (c, ky, kx). In pieces that keep the panel's lines in cache until all its columns are met.
template <class Visit>
void for_each_element(const PackedMatrix& m, int64_t first_row, int64_t row_count, Visit visit) {
    const int64_t taps = static_cast<int64_t>(m.kernel_height) * m.kernel_width;
    const int64_t channels = m.columns / taps;
    const int64_t piece = max_of(1, 128 / taps);
    for (int64_t row = 0; row < row_count; row += kPanelColumns) {
        for (int64_t first = 0; first < channels; first += piece) {
            for (int64_t r = row; r < min_of(row_count, row + kPanelColumns); ++r) {
                const Place place = place_of(m, first_row + r);
                for (int64_t tap = 0; tap < taps; ++tap) {
                    for (int64_t c = first; c < min_of(channels, first + piece); ++c) {
                        visit(packed_index(m, place.panel, place.column, tap * channels + c), r * m.columns + c * taps + tap);
                    }
                }
            }
        }
    }
}

template <class Bits>
void pack_bits(const PackedMatrix& m, const void* source, int64_t first_row, int64_t row_count) {
    Bits* const to = static_cast<Bits*>(m.data);
    const Bits* const from = static_cast<const Bits*>(source);
    for_each_element(m, first_row, row_count, [=](int64_t packed, int64_t logical) { to[packed] = from[logical]; });
}

template <class Bits>
void unpack_bits(const PackedMatrix& m, void* values) {
    Bits* const to = static_cast<Bits*>(values);
    const Bits* const from = static_cast<const Bits*>(m.data);
    for_each_element(m, 0, m.rows, [=](int64_t packed, int64_t logical) { to[logical] = from[packed]; });
}

double read_double(const void* source, int64_t i, int32_t dtype) {
    switch (dtype) {
        case SDN_FLOAT64:
            return static_cast<const double*>(source)[i];
        case SDN_FLOAT16:
            return static_cast<double>(float_from_half(static_cast<const uint16_t*>(source)[i]));
        case SDN_BFLOAT16:
            return static_cast<double>(float_from_bfloat16(static_cast<const uint16_t*>(source)[i]));
        default:
            return static_cast<double>(static_cast<const float*>(source)[i]);
    }
}

void pack_converted(const PackedMatrix& m, const void* source, int32_t dtype, int64_t first_row, int64_t row_count) {
    float* const wide = static_cast<float*>(m.data);
    uint16_t* const narrow = static_cast<uint16_t*>(m.data);
    const int32_t storage = m.storage;
    for_each_element(m, first_row, row_count, [=](int64_t packed, int64_t logical) {
        const double x = read_double(source, logical, dtype);
        if (storage == SDN_FLOAT32)
            wide[packed] = static_cast<float>(x);
        else
            narrow[packed] = storage == SDN_FLOAT16 ? half_from_double(x) : bfloat16_from_double(x);
    });
}

// The columns past the outputs.
void clear_padding(const PackedMatrix& m) {
    const int64_t vectors = m.geglu ? 2 : 1;  // that an output takes part in
    const int64_t outputs = m.rows / vectors, width = kPanelColumns / vectors;
    for (int64_t j = outputs; j < m.panel_count * width; ++j) {
        for (int64_t i = 0; i < vectors * m.columns; ++i) {
            const int64_t at = packed_index(m, j / width, i % vectors * width + j % width, i / vectors);
            std::memset(static_cast<char*>(m.data) + at * bytes_of(m.storage), 0, static_cast<size_t>(bytes_of(m.storage)));
        }
    }
}

}  // namespace

void pack_rows(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count) {
    if (source_dtype != m.storage)
        pack_converted(m, source, source_dtype, first_row, row_count);
    else if (m.storage == SDN_FLOAT32)
        pack_bits<uint32_t>(m, source, first_row, row_count);
    else
        pack_bits<uint16_t>(m, source, first_row, row_count);
    if (first_row + row_count == m.rows) clear_padding(m);
}

void unpack(const PackedMatrix& m, void* values) {
    if (m.storage == SDN_FLOAT32)
        unpack_bits<uint32_t>(m, values);
    else
        unpack_bits<uint16_t>(m, values);
}

}  // namespace sdn::cpu::SDN_ISA
