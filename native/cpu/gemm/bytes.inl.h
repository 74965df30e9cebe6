// Computes:  c[r, j] (+)= scale[r] * scale[j] * sum_k a[r, k] * b[k, j], the sum being one of whole numbers and thus exact.
// Shapes:    a [rows, steps], kRowStride apart; b [steps, kPanelColumns]; c [rows, kPanelColumns], c_stride apart. An element of a or b is
//            four bytes of K, those of b with a sign, those of a 128 more than what they stand for.
// Algorithm: as microkernel.inl.h, with sums of int32 that begin at -128 * sum_k b[k, j], which takes out the 128. A block has at most
//            4 * kMaxDepth = 1536 terms of at most 255 * 127: 2.3 % of what int32 holds.
// Launch:    inside one thread.
#pragma once

#include "cpu/gemm/layout.inl.h"

#if defined(SDN_MULTIPLIES_BYTES)

namespace sdn::cpu::SDN_ISA {

// Four bytes of K.
struct Bytes {
    uint32_t four;
};

struct ByteScales {
    const float* rows;
    const float* columns;
    const int32_t* sums;  // where they begin
};

// The scale of values whose largest magnitude is given. Values below 2^-100 count as zeros; among values that are not finite every byte is
// as wrong as the other, and the scale, NaN, tells all sums.
SDN_INLINE float byte_scale(float largest) {
    return largest < 0x1p-100f ? 0.0f : largest / 127 + (largest - largest);
}

// Rounds n values (a multiple of 4) to whole numbers of -127 to 127 times the scale that it returns, writes them with 128 added. Writes
// whole vectors of 16 bytes.
SDN_INLINE float round_to_bytes(const float* x, int64_t n, Bytes* target) {
    vec largest = zero();
    for (int64_t i = 0; i < n; i += kLanes) largest = larger_magnitude(largest, n - i < kLanes ? load_partial(x + i, n - i) : load(x + i));
    const float scale = byte_scale(magnitude(largest));
    const vec factor = broadcast(scale == 0 ? 0.0f : 1 / scale);
    for (int64_t i = 0; i < n; i += kLanes)
        store_bytes(target + i / 4, (n - i < kLanes ? load_partial(x + i, n - i) : load(x + i)) * factor);
    return scale;
}

template <int Rows, int Vectors>
SDN_USES_BYTES SDN_NOINLINE void multiply_bytes_exactly(const Bytes* a, const Bytes* b, int64_t steps, const ByteScales& scales, float* c,
                                                        int64_t c_stride, bool accumulate, Upcoming upcoming) {
    int_vec total[Rows][Vectors];
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) set_load(total[r][j], scales.sums + j * kLanes);
    }
    for (int64_t k = 0; k < steps; ++k) {
        byte_vec row[Vectors];
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) set_load(row[j], &b[j * kLanes].four);
        prefetch(upcoming.at);
        SDN_UNROLL for (int r = 0; r < Rows; ++r) {
            byte_vec x;
            set_broadcast(x, a[r * kRowStride].four);
            SDN_UNROLL for (int j = 0; j < Vectors; ++j) total[r][j] = multiply_add(x, row[j], total[r][j]);
        }
        a += 1;
        b += kPanelColumns;
        upcoming.at += upcoming.stride;
    }
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) {
            float* const target = c + r * c_stride + j * kLanes;
            const vec scale = load(scales.columns + j * kLanes) * broadcast(scales.rows[r]);
            store(target, fma(to_float(total[r][j]), scale, accumulate ? load(target) : zero()));
        }
    }
}

// The same for 1 <= rows <= Rows.
template <int Vectors, int Rows = kMicroRows>
SDN_INLINE void multiply_byte_rows(int64_t rows, const Bytes* a, const Bytes* b, int64_t steps, const ByteScales& scales, float* c,
                                   int64_t c_stride, bool accumulate, Upcoming upcoming) {
    if constexpr (Rows > 1) {
        if (rows < Rows) return multiply_byte_rows<Vectors, Rows - 1>(rows, a, b, steps, scales, c, c_stride, accumulate, upcoming);
    }
    multiply_bytes_exactly<Rows, Vectors>(a, b, steps, scales, c, c_stride, accumulate, upcoming);
}

// The same where only the first `width` of the panel's columns matter.
SDN_INLINE void multiply_byte_tile(int64_t rows, int64_t width, const Bytes* a, const Bytes* b, int64_t steps, const ByteScales& scales,
                                   float* c, int64_t c_stride, bool accumulate, Upcoming upcoming) {
    if (width > kLanes)
        multiply_byte_rows<2>(rows, a, b, steps, scales, c, c_stride, accumulate, upcoming);
    else
        multiply_byte_rows<1>(rows, a, b, steps, scales, c, c_stride, accumulate, upcoming);
}

}  // namespace sdn::cpu::SDN_ISA

#endif
