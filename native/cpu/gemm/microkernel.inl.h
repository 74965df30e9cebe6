// Computes:  c[r, j] (+)= sum_k a[r, k] * b[k, j] for up to kMicroRows rows and 1 or 2 vectors of columns, sums in registers.
// Shapes:    a [rows, steps], kRowStride apart; b [steps, kPanelColumns]; c [rows, kPanelColumns], c_stride apart. An element of a and b is
//            a float, or (uint32_t) a pair of bfloat16, whose two products are added.
// Algorithm: one row of b and one broadcast element of a at a time; 28 independent sums (AVX-512) hide the latency of fma.
// Launch:    inside one thread. Meanwhile `upcoming` is fetched: the block of b that is needed next.
#pragma once

#include "cpu/gemm/layout.inl.h"

namespace sdn::cpu::SDN_ISA {

// Rows that a microkernel takes at once. The parameter only tells which elements.
constexpr int64_t rows_at_once(const void*) {
    return kMicroRows;
}

// The vectors that elements are multiplied in.
template <class Element>
struct Terms {
    using Wide = vec;
    using Narrow = narrow_vec;
};
#if defined(SDN_MULTIPLIES_PAIRS)
template <>
struct Terms<uint32_t> {
    using Wide = pair_vec;
    using Narrow = narrow_pair_vec;
};
#endif

// One step: element k of each row of a times row k of b.
template <class Term, class Sum, class Element, int Rows, int Vectors>
SDN_INLINE void multiply_step(Sum (&total)[Rows][Vectors], const Element* a, const Element* b) {
    Term row[Vectors];
    SDN_UNROLL for (int j = 0; j < Vectors; ++j) set_load(row[j], b + j * kLanes);
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        Term x;
        set_broadcast(x, a[r * kRowStride]);
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) total[r][j] = fma(x, row[j], total[r][j]);
    }
}

template <class Sum, class Term, class Element, int Rows, int Vectors>
SDN_NOINLINE void multiply_exactly(const Element* a, const Element* b, int64_t steps, float* c, int64_t c_stride, bool accumulate,
                                   Upcoming upcoming) {
    Sum total[Rows][Vectors];
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) set_zero(total[r][j]);
    }
    int64_t k = 0;
    for (; k + kUnrolledSteps <= steps; k += kUnrolledSteps) {
        upcoming.fetch_some();
        SDN_UNROLL for (int i = 0; i < kUnrolledSteps; ++i) multiply_step<Term>(total, a + i, b + i * kPanelColumns);
        a += kUnrolledSteps;
        b += kUnrolledSteps * kPanelColumns;
    }
    for (; k < steps; ++k) {
        multiply_step<Term>(total, a, b);
        a += 1;
        b += kPanelColumns;
    }
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        SDN_UNROLL for (int j = 0; j < Vectors; ++j) {
            float* const target = c + r * c_stride + j * kLanes;
            Sum before;
            if (accumulate) {
                set_load(before, target);
                total[r][j] = before + total[r][j];
            }
            store(target, total[r][j]);
        }
    }
}

// The same for 1 <= rows <= Rows.
template <class Sum, class Term, class Element, int Vectors, int Rows = kMicroRows>
SDN_INLINE void multiply_rows(int64_t rows, const Element* a, const Element* b, int64_t steps, float* c, int64_t c_stride, bool accumulate,
                              Upcoming upcoming) {
    if constexpr (Rows > 1) {
        if (rows < Rows) return multiply_rows<Sum, Term, Element, Vectors, Rows - 1>(rows, a, b, steps, c, c_stride, accumulate, upcoming);
    }
    multiply_exactly<Sum, Term, Element, Rows, Vectors>(a, b, steps, c, c_stride, accumulate, upcoming);
}

// The same where only the first `width` of the panel's columns matter: whether the rest of c is written is open.
template <class Element>
SDN_INLINE void multiply_tile(int64_t rows, int64_t width, const Element* a, const Element* b, int64_t steps, float* c, int64_t c_stride,
                              bool accumulate, Upcoming upcoming) {
    using Wide = typename Terms<Element>::Wide;
    using Narrow = typename Terms<Element>::Narrow;
    if (width > kLanes) {
        multiply_rows<vec, Wide, Element, 2>(rows, a, b, steps, c, c_stride, accumulate, upcoming);
    } else if (width > kNarrowLanes) {
        multiply_rows<vec, Wide, Element, 1>(rows, a, b, steps, c, c_stride, accumulate, upcoming);
    } else {
        multiply_rows<narrow_vec, Narrow, Element, 1>(rows, a, b, steps, c, c_stride, accumulate, upcoming);
    }
}

}  // namespace sdn::cpu::SDN_ISA
