// Weight packing: panels of panel_width outputs; in a panel, for each k in (ky, kx, c) order, its outputs side by side.
#include "cpu/gemm/plain.inl.h"

namespace sdn::cpu::SDN_ISA {

extern const int32_t panel_width;
const int32_t panel_width = 16;

namespace {

double read_value(const void* source, int32_t dtype, int64_t i) {
    switch (dtype) {
        case SDN_FLOAT64:
            return static_cast<const double*>(source)[i];
        default:
            return static_cast<double>(read_float(source, dtype, i));
    }
}

// Element offset of logical element (row, c, tap) in the panels; taps are ky * kernel_width + kx.
int64_t packed_index(const PackedMatrix& m, int64_t row, int64_t k) {
    const int64_t width = m.panel_width, half = width / 2, values = m.rows / 2;
    int64_t panel = row / width, lane = row % width;
    if (m.geglu) {
        const int64_t output = row < values ? row : row - values;
        panel = output / half;
        lane = output % half + (row < values ? 0 : half);
    }
    return (panel * m.columns + k) * width + lane;
}

}  // namespace

void pack_rows(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count) {
    const int64_t taps = int64_t{m.kernel_height} * m.kernel_width, inputs = m.columns / taps;
    for (int64_t r = 0; r < row_count; ++r)
        for (int64_t c = 0; c < inputs; ++c)
            for (int64_t tap = 0; tap < taps; ++tap) {
                const int64_t from = (r * inputs + c) * taps + tap, to = packed_index(m, first_row + r, tap * inputs + c);
                if (source_dtype == m.storage && m.storage != SDN_FLOAT32)
                    static_cast<uint16_t*>(m.data)[to] = static_cast<const uint16_t*>(source)[from];
                else if (m.storage == SDN_FLOAT32)
                    static_cast<float*>(m.data)[to] = static_cast<float>(read_value(source, source_dtype, from));
                else
                    static_cast<uint16_t*>(m.data)[to] = narrow_16(read_value(source, source_dtype, from), m.storage);
            }
}

void unpack(const PackedMatrix& m, void* values) {
    const int64_t taps = int64_t{m.kernel_height} * m.kernel_width, inputs = m.columns / taps;
    for (int64_t row = 0; row < m.rows; ++row)
        for (int64_t c = 0; c < inputs; ++c)
            for (int64_t tap = 0; tap < taps; ++tap) {
                const int64_t to = (row * inputs + c) * taps + tap, from = packed_index(m, row, tap * inputs + c);
                if (m.storage == SDN_FLOAT32)
                    static_cast<float*>(values)[to] = static_cast<const float*>(m.data)[from];
                else
                    static_cast<uint16_t*>(values)[to] = static_cast<const uint16_t*>(m.data)[from];
            }
}

}  // namespace sdn::cpu::SDN_ISA
