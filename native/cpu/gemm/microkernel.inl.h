// Computes:  c[r, j] (+)= sum_k a[r, k] * b[k, j] for up to kMicroRows rows and 1 or 2 vectors of columns, sums in registers.
// Shapes:    a [rows, depth], kRowStride apart; b [depth, kPanelColumns]; c [rows, kPanelColumns], c_stride apart.
// Algorithm: one row of b and one broadcast element of a at a time; 28 independent sums (AVX-512) hide the latency of fma.
// Launch:    inside one thread. Meanwhile `upcoming` is fetched, one cache line per k: the block of b that is needed next.
#pragma once

#include "cpu/gemm/layout.inl.h"

namespace sdn::cpu::SDN_ISA {

template <int Rows, int Vectors>
SDN_NOINLINE void multiply_exactly(const float* a, const float* b, int64_t depth, float* c, int64_t c_stride, bool accumulate,
                                   const char* upcoming) {
    vec total[Rows][Vectors];
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) total[r][j] = zero();
    }
    for (int64_t k = 0; k < depth; ++k) {
        vec row[Vectors];
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) row[j] = load(b + j * kLanes);
        prefetch(upcoming);
        SDN_UNROLL for (int r = 0; r < Rows; ++r) {
            const vec x = broadcast(a[r * kRowStride]);
            SDN_UNROLL for (int j = 0; j < Vectors; ++j) total[r][j] = fma(x, row[j], total[r][j]);
        }
        a += 1;
        b += kPanelColumns;
        upcoming += 64;
    }
    if (accumulate) {
        SDN_UNROLL for (int r = 0; r < Rows; ++r) {
            SDN_UNROLL for (int j = 0; j < Vectors; ++j) total[r][j] = load(c + r * c_stride + j * kLanes) + total[r][j];
        }
    }
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) store(c + r * c_stride + j * kLanes, total[r][j]);
    }
}

// The same for 1 <= rows <= Rows.
template <int Vectors, int Rows = kMicroRows>
SDN_INLINE void multiply_rows(int64_t rows, const float* a, const float* b, int64_t depth, float* c, int64_t c_stride, bool accumulate,
                              const char* upcoming) {
    if constexpr (Rows > 1) {
        if (rows < Rows) return multiply_rows<Vectors, Rows - 1>(rows, a, b, depth, c, c_stride, accumulate, upcoming);
    }
    multiply_exactly<Rows, Vectors>(a, b, depth, c, c_stride, accumulate, upcoming);
}

// The same where only the first `width` of the panel's columns matter. upcoming: an address that may be fetched; depth lines from there.
SDN_INLINE void multiply_tile(int64_t rows, int64_t width, const float* a, const float* b, int64_t depth, float* c, int64_t c_stride,
                              bool accumulate, const void* upcoming) {
    const char* lines = static_cast<const char*>(upcoming);
    if (width > kLanes) {
        multiply_rows<2>(rows, a, b, depth, c, c_stride, accumulate, lines);
    } else {
        multiply_rows<1>(rows, a, b, depth, c, c_stride, accumulate, lines);
    }
}

}  // namespace sdn::cpu::SDN_ISA
