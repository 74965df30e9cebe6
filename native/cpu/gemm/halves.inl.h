// Computes:  c[r, j] (+)= factor[r] * sum_k a[r, k] * b[k, j] for up to kHalfRows rows and a panel of columns; a and b are float16.
// Shapes:    a [rows, steps], kRowStride apart; b [steps, kPanelColumns]; c [rows, kPanelColumns], c_stride apart.
// Algorithm: as microkernel.inl.h with one vector of 32 columns. The machine's float16 multiply-add rounds its sum to float16, so K is cut
//            into chains of at most kLongestChain, whose sums are widened, scaled and added in float32. A sum of n random terms is off by
//            about 2^-12 sqrt(n / 2) of itself, 1.4e-3 at 64: half of what rounding both factors to bfloat16 makes it off.
// Range:     powers of two keep every sum of a chain in float16's range: round_to_halves() scales the rows of a below 2^exponent, weights
//            are below 2^half_exponent (cpu/kernel_api.h), and a chain's 2^6 terms are at most 2^15 together.
// Launch:    inside one thread.
#pragma once

#include "cpu/gemm/layout.inl.h"

#if defined(SDN_MULTIPLIES_HALVES)

namespace sdn::cpu::SDN_ISA {

// A float16.
struct Half {
    uint16_t bits;
};

constexpr int64_t rows_at_once(const Half*) {
    return kHalfRows;
}

// The exponent for rows of a beside weights below 2^weight_exponent. Above 2^10 nothing is gained.
SDN_INLINE int32_t row_exponent(int32_t weight_exponent) {
    return static_cast<int32_t>(min_of(15 - 6 - weight_exponent, 10));
}

SDN_INLINE float power_of_two(int32_t n) {
    return scalar_from_bits(static_cast<uint32_t>(n + 127) << 23);
}

// The power of two that takes values whose largest magnitude is given below 2^exponent and, but for tiny ones, not below 2^(exponent - 1).
// Infinity and NaN get one too and stay what they are.
SDN_INLINE int32_t shift_below(float largest, int32_t exponent) {
    const int32_t above = static_cast<int32_t>(bits_of_scalar(largest) >> 23) - 126;  // largest < 2^above
    return static_cast<int32_t>(max_of(-126, min_of(100, exponent - above)));
}

// Rounds n values, times the power of two that takes them below 2^exponent, to float16. Returns its inverse. Writes whole vectors.
SDN_INLINE float round_to_halves(const float* x, int64_t n, int32_t exponent, Half* target) {
    vec largest = zero();
    for (int64_t i = 0; i < n; i += kLanes) largest = larger_magnitude(largest, n - i < kLanes ? load_partial(x + i, n - i) : load(x + i));
    const int32_t shift = shift_below(magnitude(largest), exponent);
    const vec factor = broadcast(power_of_two(shift));
    for (int64_t i = 0; i < n; i += kLanes) store_float16(target + i, (n - i < kLanes ? load_partial(x + i, n - i) : load(x + i)) * factor);
    return power_of_two(-shift);
}

template <int Rows>
SDN_INLINE SDN_USES_HALVES void multiply_half_step(half_vec (&total)[Rows], const Half* a, const Half* b) {
    half_vec row;
    set_load(row, &b->bits);
    SDN_UNROLL for (int r = 0; r < Rows; ++r) {
        half_vec x;
        set_broadcast(x, &a[r * kRowStride].bits);
        total[r] = fma(x, row, total[r]);
    }
}

template <int Rows>
SDN_USES_HALVES SDN_NOINLINE void multiply_halves_exactly(const Half* a, const Half* b, int64_t steps, int64_t chain, const float* factors,
                                                          float* c, int64_t c_stride, bool accumulate, Upcoming upcoming) {
    while (steps > 0) {
        half_vec total[Rows];
        SDN_UNROLL for (int r = 0; r < Rows; ++r) set_zero(total[r]);
        const int64_t length = min_of(chain, steps);
        int64_t k = 0;
        for (; k + kUnrolledSteps <= length; k += kUnrolledSteps) {
            upcoming.fetch_some();
            SDN_UNROLL for (int i = 0; i < kUnrolledSteps; ++i) multiply_half_step(total, a + i, b + i * kPanelColumns);
            a += kUnrolledSteps;
            b += kUnrolledSteps * kPanelColumns;
        }
        for (; k < length; ++k) {
            multiply_half_step(total, a, b);
            a += 1;
            b += kPanelColumns;
        }
        alignas(64) uint16_t sums[Rows * kPanelColumns];  // through memory, where a conversion reads them half a vector at a time
        SDN_UNROLL for (int r = 0; r < Rows; ++r) store(sums + r * kPanelColumns, total[r]);
        for (int64_t r = 0; r < Rows; ++r) {
            const vec factor = broadcast(factors[r]);
            SDN_UNROLL for (int64_t j = 0; j < kPanelColumns; j += kLanes) {
                float* const target = c + r * c_stride + j;
                store(target, fma(load_float16(sums + r * kPanelColumns + j), factor, accumulate ? load(target) : zero()));
            }
        }
        accumulate = true;
        steps -= length;
    }
}

// The same for 1 <= rows <= Rows.
template <int Rows = kHalfRows>
SDN_INLINE void multiply_halves(int64_t rows, const Half* a, const Half* b, int64_t steps, int64_t chain, const float* factors, float* c,
                                int64_t c_stride, bool accumulate, Upcoming upcoming) {
    if constexpr (Rows > 1) {
        if (rows < Rows) return multiply_halves<Rows - 1>(rows, a, b, steps, chain, factors, c, c_stride, accumulate, upcoming);
    }
    multiply_halves_exactly<Rows>(a, b, steps, chain, factors, c, c_stride, accumulate, upcoming);
}

}  // namespace sdn::cpu::SDN_ISA

#endif
