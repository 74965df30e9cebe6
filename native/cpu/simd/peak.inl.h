// As many multiply-adds as the registers allow: what the machine can do at most.
#pragma once

#include <cstdint>

#include "cpu/simd/vec.inl.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace sdn::cpu::SDN_ISA {

namespace peak {

#if defined(__AVX512F__)
using Vector = __m512;
inline constexpr int kLanes = 16;
inline Vector broadcast(float value) {
    return _mm512_set1_ps(value);
}
inline Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm512_fmadd_ps(a, b, c);
}
inline float first_lane(Vector v) {
    return _mm512_cvtss_f32(v);
}
#elif defined(__AVX2__)
using Vector = __m256;
inline constexpr int kLanes = 8;
inline Vector broadcast(float value) {
    return _mm256_set1_ps(value);
}
inline Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm256_fmadd_ps(a, b, c);
}
inline float first_lane(Vector v) {
    return _mm256_cvtss_f32(v);
}
#elif defined(__SSE2__) || defined(_M_X64)
using Vector = __m128;
inline constexpr int kLanes = 4;
inline Vector broadcast(float value) {
    return _mm_set1_ps(value);
}
inline Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}
inline float first_lane(Vector v) {
    return _mm_cvtss_f32(v);
}
#else
using Vector = float;
inline constexpr int kLanes = 1;
inline Vector broadcast(float value) {
    return value;
}
inline Vector multiply_add(Vector a, Vector b, Vector c) {
    return a * b + c;
}
inline float first_lane(Vector v) {
    return v;
}
#endif

struct Float32 {
    static constexpr double kOperations = 2.0 * kLanes;
    Vector factor, addend;
    Vector operator()(Vector sum) const { return multiply_add(sum, factor, addend); }
};

#if defined(SDN_MULTIPLIES_PAIRS)
struct Pairs {
    static constexpr double kOperations = 4.0 * kLanes;
    __m512bh a, b;
    Vector operator()(Vector sum) const { return _mm512_dpbf16_ps(sum, a, b); }
};
#endif

// Twelve named accumulators: enough for two units of latency up to 6, and an array of them would be spilled to memory. Each begins with
// a value of its own that the compiler cannot know, or it would see that some are equal and compute them once.
template <class Step>
double loop(Step step, int64_t multiply_adds) {
    volatile float start_source = 1.0f, sink;
    Vector s0 = broadcast(start_source), s1 = broadcast(start_source), s2 = broadcast(start_source), s3 = broadcast(start_source);
    Vector s4 = broadcast(start_source), s5 = broadcast(start_source), s6 = broadcast(start_source), s7 = broadcast(start_source);
    Vector s8 = broadcast(start_source), s9 = broadcast(start_source), s10 = broadcast(start_source), s11 = broadcast(start_source);
    const int64_t rounds = multiply_adds / 12 + 1;
    for (int64_t i = 0; i < rounds; ++i) {
        s0 = step(s0);
        s1 = step(s1);
        s2 = step(s2);
        s3 = step(s3);
        s4 = step(s4);
        s5 = step(s5);
        s6 = step(s6);
        s7 = step(s7);
        s8 = step(s8);
        s9 = step(s9);
        s10 = step(s10);
        s11 = step(s11);
    }
    sink = first_lane(s0) + first_lane(s1) + first_lane(s2) + first_lane(s3) + first_lane(s4) + first_lane(s5) + first_lane(s6) +
           first_lane(s7) + first_lane(s8) + first_lane(s9) + first_lane(s10) + first_lane(s11);
    (void)sink;
    return Step::kOperations * 12.0 * static_cast<double>(rounds);
}

}  // namespace peak

inline double peak_loop(int64_t multiply_adds) {
    volatile float factor = 0.999f, addend = 0.001f;
    return peak::loop(peak::Float32{peak::broadcast(factor), peak::broadcast(addend)}, multiply_adds);
}

#if defined(SDN_MULTIPLIES_PAIRS)
inline double peak_narrow(int64_t multiply_adds) {
    volatile float a = 0.001f, b = 0.001f;
    const __m512 x = peak::broadcast(a), y = peak::broadcast(b);
    return peak::loop(peak::Pairs{_mm512_cvtne2ps_pbh(x, x), _mm512_cvtne2ps_pbh(y, y)}, multiply_adds);
}
#elif defined(SDN_MULTIPLIES_HALVES)
SDN_USES_HALVES inline double peak_narrow(int64_t multiply_adds) {
    constexpr int kSums = 12;
    volatile uint16_t start_source = 0x3c00, factor_source = 0x3bff, addend_source = 0x1400;  // 1, 1 - 2^-11, 2^-10
    half_vec sums[kSums], factor, addend;
    SDN_UNROLL for (int i = 0; i < kSums; ++i) {
        const uint16_t start = start_source;
        set_broadcast(sums[i], &start);
    }
    const uint16_t factor_bits = factor_source, addend_bits = addend_source;
    set_broadcast(factor, &factor_bits);
    set_broadcast(addend, &addend_bits);
    const int64_t rounds = multiply_adds / kSums + 1;
    for (int64_t i = 0; i < rounds; ++i) {
        SDN_UNROLL for (int j = 0; j < kSums; ++j) sums[j] = fma(sums[j], factor, addend);
    }
    uint16_t results[kSums * 2 * kLanes];
    SDN_UNROLL for (int i = 0; i < kSums; ++i) store(results + i * 2 * kLanes, sums[i]);
    volatile uint16_t sink = 0;
    for (const uint16_t result : results) sink = result;
    (void)sink;
    return 2.0 * 2 * kLanes * kSums * static_cast<double>(rounds);
}
#else
inline constexpr double (*peak_narrow)(int64_t) = nullptr;
#endif

}  // namespace sdn::cpu::SDN_ISA
