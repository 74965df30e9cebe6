// `vec` on AVX-512 F: 16 lanes, 32 registers. See vec.inl.h.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // gcc 12 takes its own _mm512_undefined_ps() for a mistake
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

namespace sdn::cpu::SDN_ISA {

constexpr int kLanes = 16;

struct vec {
    __m512 v;
};

// Half a vec: the machine multiplies two of them in the time of one vec.
constexpr int kNarrowLanes = 8;

struct narrow_vec {
    __m256 v;
};

SDN_INLINE narrow_vec operator+(narrow_vec a, narrow_vec b) {
    return {_mm256_add_ps(a.v, b.v)};
}
SDN_INLINE narrow_vec fma(narrow_vec a, narrow_vec b, narrow_vec c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
SDN_INLINE void store(float* p, narrow_vec a) {
    _mm256_storeu_ps(p, a.v);
}
SDN_INLINE void set_zero(narrow_vec& a) {
    a.v = _mm256_setzero_ps();
}
SDN_INLINE void set_broadcast(narrow_vec& a, float x) {
    a.v = _mm256_set1_ps(x);
}
SDN_INLINE void set_load(narrow_vec& a, const float* p) {
    a.v = _mm256_loadu_ps(p);
}

SDN_INLINE __mmask16 first_lanes(int64_t n) {
    return static_cast<__mmask16>((1u << n) - 1u);
}

SDN_INLINE vec zero() {
    return {_mm512_setzero_ps()};
}
SDN_INLINE vec broadcast(float x) {
    return {_mm512_set1_ps(x)};
}
SDN_INLINE vec load(const float* p) {
    return {_mm512_loadu_ps(p)};
}
SDN_INLINE vec load_partial(const float* p, int64_t n) {
    return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
SDN_INLINE vec load_float16(const void* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
SDN_INLINE vec load_bfloat16(const void* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
SDN_INLINE void store(float* p, vec a) {
    _mm512_storeu_ps(p, a.v);
}
SDN_INLINE void store_partial(float* p, vec a, int64_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), a.v);
}

SDN_INLINE vec operator+(vec a, vec b) {
    return {_mm512_add_ps(a.v, b.v)};
}
SDN_INLINE vec operator-(vec a, vec b) {
    return {_mm512_sub_ps(a.v, b.v)};
}
SDN_INLINE vec operator*(vec a, vec b) {
    return {_mm512_mul_ps(a.v, b.v)};
}
SDN_INLINE vec operator/(vec a, vec b) {
    return {_mm512_div_ps(a.v, b.v)};
}
SDN_INLINE vec fma(vec a, vec b, vec c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
SDN_INLINE vec maximum(vec a, vec b) {
    return {_mm512_max_ps(a.v, b.v)};
}
SDN_INLINE vec minimum(vec a, vec b) {
    return {_mm512_min_ps(a.v, b.v)};
}
SDN_INLINE vec abs(vec a) {
    return {_mm512_abs_ps(a.v)};
}
SDN_INLINE vec round(vec a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SDN_INLINE vec scale_by_power_of_two(vec a, vec n) {
    return {_mm512_scalef_ps(a.v, n.v)};
}
SDN_INLINE vec select_less(vec a, vec b, vec x, vec y) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
SDN_INLINE float sum(vec a) {
    return _mm512_reduce_add_ps(a.v);
}
SDN_INLINE float maximum(vec a) {
    return _mm512_reduce_max_ps(a.v);
}

#if defined(SDN_MULTIPLIES_PAIRS)
struct pair_vec {
    __m512i v;
};
struct narrow_pair_vec {
    __m256i v;
};

SDN_INLINE void set_broadcast(pair_vec& a, uint32_t pair) {
    a.v = _mm512_set1_epi32(static_cast<int>(pair));
}
SDN_INLINE void set_broadcast(narrow_pair_vec& a, uint32_t pair) {
    a.v = _mm256_set1_epi32(static_cast<int>(pair));
}
SDN_INLINE void set_load(pair_vec& a, const uint32_t* p) {
    a.v = _mm512_loadu_si512(p);
}
SDN_INLINE void set_load(narrow_pair_vec& a, const uint32_t* p) {
    a.v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
SDN_INLINE vec fma(pair_vec a, pair_vec b, vec c) {
    return {_mm512_dpbf16_ps(c.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}
SDN_INLINE narrow_vec fma(narrow_pair_vec a, narrow_pair_vec b, narrow_vec c) {
    return {_mm256_dpbf16_ps(c.v, reinterpret_cast<__m256bh>(a.v), reinterpret_cast<__m256bh>(b.v))};
}
SDN_INLINE vec load_firsts(const void* p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
}
SDN_INLINE vec load_seconds(const void* p) {
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-65536)))};
}
SDN_INLINE void store_bfloat16(void* p, vec a) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v)));
}
#endif

}  // namespace sdn::cpu::SDN_ISA
