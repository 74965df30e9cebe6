#include <cstring>

#include "core/dtype.h"
#include "cpu/gemm/bytes.inl.h"
#include "cpu/gemm/pack.inl.h"
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

int64_t scale_blocks(int64_t columns) {
    return depth_blocks(columns / 4).count;
}

#if defined(SDN_MULTIPLIES_BYTES)

namespace {

template <int32_t From>
SDN_INLINE float read_float(const void* source, int64_t i) {
    if constexpr (From == SDN_FLOAT64) return static_cast<float>(static_cast<const double*>(source)[i]);
    if constexpr (From == SDN_FLOAT32) return static_cast<const float*>(source)[i];
    const uint16_t bits = static_cast<const uint16_t*>(source)[i];
    return From == SDN_FLOAT16 ? float_from_half(bits) : float_from_bfloat16(bits);
}

// Elements [first, first + count) of a row's K, which is (ky, kx, c) where the source is (c, ky, kx).
template <int32_t From>
void gather(const PackedMatrix& m, const void* source, int64_t row, int64_t first, int64_t count, float* values) {
    const int64_t taps = static_cast<int64_t>(m.kernel_height) * m.kernel_width, channels = m.columns / taps;
    int64_t tap = first / channels, c = first % channels;
    for (int64_t i = 0; i < count; ++tap, c = 0)
        for (; c < channels && i < count; ++c, ++i) values[i] = read_float<From>(source, row * m.columns + c * taps + tap);
}

// A block of one row and its scale: the rounding is that of inputs, the 128 taken off again.
void pack_block(const PackedMatrix& m, const float* values, int64_t count, Place place, int64_t block) {
    Bytes rounded[kMaxDepth + kLanes];
    const int64_t at = scale_index(m, place.panel, block) + place.column, step = block * depth_blocks(steps_of(m)).depth;
    m.scales[at] = round_to_bytes(values, count, rounded);
    int32_t sum = 0;
    for (int64_t i = 0; i < count / 4; ++i) {
        int8_t four[4];
        const uint32_t bits = rounded[i].four ^ 0x80808080u;
        std::memcpy(four, &bits, 4);
        std::memcpy(static_cast<int8_t*>(m.data) + packed_index(m, place.panel, place.column, 4 * (step + i)), four, 4);
        sum += four[0] + four[1] + four[2] + four[3];
    }
    m.sums[at] = -128 * sum;
}

// Block after block of as many rows as a panel has, so that the panel's block stays in cache.
template <int32_t From>
void pack_from(const PackedMatrix& m, const void* source, int64_t first_row, int64_t row_count) {
    float values[4 * kMaxDepth];
    const DepthBlocks blocks = depth_blocks(steps_of(m));
    for (int64_t row = 0; row < row_count; row += kPanelColumns) {
        for (int64_t block = 0; block < blocks.count; ++block) {
            const int64_t first = 4 * block * blocks.depth, count = min_of(4 * blocks.depth, m.columns - first);
            for (int64_t r = row; r < min_of(row_count, row + kPanelColumns); ++r) {
                gather<From>(m, source, r, first, count, values);
                pack_block(m, values, count, place_of(m, first_row + r), block);
            }
        }
    }
}

}  // namespace

void pack_bytes(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count) {
    switch (source_dtype) {
        case SDN_FLOAT64:
            return pack_from<SDN_FLOAT64>(m, source, first_row, row_count);
        case SDN_FLOAT16:
            return pack_from<SDN_FLOAT16>(m, source, first_row, row_count);
        case SDN_BFLOAT16:
            return pack_from<SDN_BFLOAT16>(m, source, first_row, row_count);
        default:
            return pack_from<SDN_FLOAT32>(m, source, first_row, row_count);
    }
}

void unpack_bytes(const PackedMatrix& m, float* values) {
    const int64_t depth = 4 * depth_blocks(steps_of(m)).depth;
    const int64_t taps = static_cast<int64_t>(m.kernel_height) * m.kernel_width, channels = m.columns / taps;
    for (int64_t row = 0; row < m.rows; ++row) {
        const Place place = place_of(m, row);
        for (int64_t k = 0; k < m.columns; ++k) {
            const int8_t byte = static_cast<const int8_t*>(m.data)[packed_index(m, place.panel, place.column, k)];
            values[row * m.columns + k % channels * taps + k / channels] =
                static_cast<float>(byte) * m.scales[scale_index(m, place.panel, k / depth) + place.column];
        }
    }
}

#else

void pack_bytes(const PackedMatrix&, const void*, int32_t, int64_t, int64_t) {}
void unpack_bytes(const PackedMatrix&, float*) {}

#endif

}  // namespace sdn::cpu::SDN_ISA
