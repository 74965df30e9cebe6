// As many multiply-adds as the registers allow: what the machine can do at most.
#pragma once

#include <cstdint>

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

}  // namespace peak

// Twelve named accumulators: enough for two units of latency up to 6, and an array of them would be spilled to memory. Each begins with
// a value of its own that the compiler cannot know, or it would see that some are equal and compute them once.
inline double peak_loop(int64_t multiply_adds) {
    using namespace peak;
    volatile float factor_source = 0.999f, addend_source = 0.001f, start_source = 1.0f, sink;
    const Vector f = broadcast(factor_source), a = broadcast(addend_source);
    Vector s0 = broadcast(start_source), s1 = broadcast(start_source), s2 = broadcast(start_source), s3 = broadcast(start_source);
    Vector s4 = broadcast(start_source), s5 = broadcast(start_source), s6 = broadcast(start_source), s7 = broadcast(start_source);
    Vector s8 = broadcast(start_source), s9 = broadcast(start_source), s10 = broadcast(start_source), s11 = broadcast(start_source);
    const int64_t rounds = multiply_adds / 12 + 1;
    for (int64_t i = 0; i < rounds; ++i) {
        s0 = multiply_add(s0, f, a);
        s1 = multiply_add(s1, f, a);
        s2 = multiply_add(s2, f, a);
        s3 = multiply_add(s3, f, a);
        s4 = multiply_add(s4, f, a);
        s5 = multiply_add(s5, f, a);
        s6 = multiply_add(s6, f, a);
        s7 = multiply_add(s7, f, a);
        s8 = multiply_add(s8, f, a);
        s9 = multiply_add(s9, f, a);
        s10 = multiply_add(s10, f, a);
        s11 = multiply_add(s11, f, a);
    }
    sink = first_lane(s0) + first_lane(s1) + first_lane(s2) + first_lane(s3) + first_lane(s4) + first_lane(s5) + first_lane(s6) +
           first_lane(s7) + first_lane(s8) + first_lane(s9) + first_lane(s10) + first_lane(s11);
    (void)sink;
    return 2.0 * kLanes * 12.0 * static_cast<double>(rounds);
}

}  // namespace sdn::cpu::SDN_ISA
