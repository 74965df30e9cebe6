// `vec` on AVX2 with FMA and F16C: 8 lanes, 16 registers. See vec.inl.h.
#pragma once

#include <immintrin.h>

namespace sdn::cpu::SDN_ISA {

constexpr int kLanes = 8;

struct vec {
    __m256 v;
};

using narrow_vec = vec;
constexpr int kNarrowLanes = kLanes;

SDN_INLINE __m256i first_lanes(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SDN_INLINE vec zero() {
    return {_mm256_setzero_ps()};
}
SDN_INLINE vec broadcast(float x) {
    return {_mm256_set1_ps(x)};
}
SDN_INLINE vec load(const float* p) {
    return {_mm256_loadu_ps(p)};
}
SDN_INLINE vec load_partial(const float* p, int64_t n) {
    return {_mm256_maskload_ps(p, first_lanes(n))};
}
SDN_INLINE vec load_float16(const void* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
SDN_INLINE vec load_bfloat16(const void* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16))};
}
SDN_INLINE void store(float* p, vec a) {
    _mm256_storeu_ps(p, a.v);
}
SDN_INLINE void store_partial(float* p, vec a, int64_t n) {
    _mm256_maskstore_ps(p, first_lanes(n), a.v);
}

SDN_INLINE vec operator+(vec a, vec b) {
    return {_mm256_add_ps(a.v, b.v)};
}
SDN_INLINE vec operator-(vec a, vec b) {
    return {_mm256_sub_ps(a.v, b.v)};
}
SDN_INLINE vec operator*(vec a, vec b) {
    return {_mm256_mul_ps(a.v, b.v)};
}
SDN_INLINE vec operator/(vec a, vec b) {
    return {_mm256_div_ps(a.v, b.v)};
}
SDN_INLINE vec fma(vec a, vec b, vec c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
SDN_INLINE vec maximum(vec a, vec b) {
    return {_mm256_max_ps(a.v, b.v)};
}
SDN_INLINE vec minimum(vec a, vec b) {
    return {_mm256_min_ps(a.v, b.v)};
}
SDN_INLINE vec abs(vec a) {
    return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)};
}
SDN_INLINE vec round(vec a) {
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

// 2^n for integral -126 <= n <= 127.
SDN_INLINE vec power_of_two(__m256i n) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23))};
}
SDN_INLINE vec scale_by_power_of_two(vec a, vec n) {
    const __m256i whole = _mm256_cvtps_epi32(n.v);
    const __m256i half = _mm256_srai_epi32(whole, 1);
    return a * power_of_two(half) * power_of_two(_mm256_sub_epi32(whole, half));
}
SDN_INLINE vec add_to_exponent(vec a, vec shifted) {
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23)))};
}
SDN_INLINE vec select_less(vec a, vec b, vec x, vec y) {
    return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
SDN_INLINE float sum(vec a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
SDN_INLINE float maximum(vec a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

SDN_INLINE vec load_halves(const void* p) {
    return {_mm256_castsi256_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
}
SDN_INLINE void store_halves(void* p, vec a) {
    const __m256i bits = _mm256_castps_si256(a.v);
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1)));
}
SDN_INLINE vec float16_bits(vec a) {
    return {_mm256_castsi256_ps(_mm256_cvtepu16_epi32(_mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)))};
}
SDN_INLINE vec bfloat16_bits(vec a) {
    const __m256i bits = _mm256_castps_si256(a.v), upper = _mm256_srli_epi32(bits, 16);
    const __m256i even = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    return {_mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))};
}
SDN_INLINE vec join_halves(vec a, vec b) {
    return {_mm256_castsi256_ps(_mm256_or_si256(_mm256_castps_si256(a.v), _mm256_slli_epi32(_mm256_castps_si256(b.v), 16)))};
}

// Squares of 4 x 4 lanes within halves, then the halves.
SDN_INLINE void transpose(vec (&rows)[kLanes]) {
    __m256 squares[kLanes];
    SDN_UNROLL for (int i = 0; i < kLanes; i += 4) {
        const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(rows[i].v, rows[i + 1].v));
        const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(rows[i].v, rows[i + 1].v));
        const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(rows[i + 2].v, rows[i + 3].v));
        const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(rows[i + 2].v, rows[i + 3].v));
        squares[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
        squares[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
        squares[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
        squares[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
    }
    SDN_UNROLL for (int j = 0; j < 4; ++j) {
        rows[j].v = _mm256_permute2f128_ps(squares[j], squares[4 + j], 0x20);
        rows[4 + j].v = _mm256_permute2f128_ps(squares[j], squares[4 + j], 0x31);
    }
}

}  // namespace sdn::cpu::SDN_ISA
