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
SDN_INLINE vec add_to_exponent(vec a, vec shifted) {
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 23)))};
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

SDN_INLINE vec load_halves(const void* p) {
    return {_mm512_castsi512_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p))))};
}
SDN_INLINE void store_halves(void* p, vec a) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_castps_si512(a.v)));
}
SDN_INLINE vec float16_bits(vec a) {
    return {_mm512_castsi512_ps(_mm512_cvtepu16_epi32(_mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)))};
}
// In integers: the machine's own conversion makes subnormals zero.
SDN_INLINE vec bfloat16_bits(vec a) {
    const __m512i bits = _mm512_castps_si512(a.v), upper = _mm512_srli_epi32(bits, 16);
    const __m512i even = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff))), 16);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    return {_mm512_castsi512_ps(_mm512_mask_blend_epi32(_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), rounded, quiet))};
}
SDN_INLINE vec join_halves(vec a, vec b) {
    return {_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a.v), _mm512_slli_epi32(_mm512_castps_si512(b.v), 16)))};
}

// Squares of 4 x 4 lanes within quarters, then the quarters.
SDN_INLINE void transpose(vec (&rows)[kLanes]) {
    __m512 pairs[kLanes], squares[kLanes];
    SDN_UNROLL for (int i = 0; i < kLanes; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
    }
    // squares[4 i + j]: column j of each quarter, rows 4 i to 4 i + 3.
    SDN_UNROLL for (int i = 0; i < kLanes; i += 4) {
        const __m512d a = _mm512_castps_pd(pairs[i]), b = _mm512_castps_pd(pairs[i + 1]);
        const __m512d c = _mm512_castps_pd(pairs[i + 2]), d = _mm512_castps_pd(pairs[i + 3]);
        squares[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        squares[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        squares[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        squares[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    SDN_UNROLL for (int j = 0; j < 4; ++j) {
        const __m512 even_low = _mm512_shuffle_f32x4(squares[j], squares[4 + j], 0x88);  // quarters 0 and 2
        const __m512 odd_low = _mm512_shuffle_f32x4(squares[j], squares[4 + j], 0xdd);
        const __m512 even_high = _mm512_shuffle_f32x4(squares[8 + j], squares[12 + j], 0x88);
        const __m512 odd_high = _mm512_shuffle_f32x4(squares[8 + j], squares[12 + j], 0xdd);
        rows[j].v = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
        rows[4 + j].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
        rows[8 + j].v = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
        rows[12 + j].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
    }
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

// Not every machine with AVX-512 F has VNNI, so only what needs it is compiled for it: cpu/weight.cpp asks the machine.
#define SDN_MULTIPLIES_BYTES 1
#if defined(_MSC_VER) && !defined(__clang__)
#define SDN_USES_BYTES
using int_lanes = __m512i;
#else
#define SDN_USES_BYTES __attribute__((target("avx512vnni")))
using int_lanes = int __attribute__((vector_size(64)));  // gcc keeps arrays of __m512i in memory where VNNI takes them for this
#endif

struct byte_vec {
    __m512i v;
};
struct int_vec {
    int_lanes v;
};

SDN_INLINE void set_broadcast(byte_vec& a, uint32_t four) {
    a.v = _mm512_set1_epi32(static_cast<int>(four));
}
SDN_INLINE void set_load(byte_vec& a, const uint32_t* p) {
    a.v = _mm512_loadu_si512(p);
}
SDN_INLINE void set_load(int_vec& a, const int32_t* p) {
    a.v = reinterpret_cast<int_lanes>(_mm512_loadu_si512(p));
}
SDN_INLINE SDN_USES_BYTES int_vec multiply_add(byte_vec a, byte_vec b, int_vec c) {
    return {reinterpret_cast<int_lanes>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(c.v), a.v, b.v))};
}
SDN_INLINE vec to_float(int_vec a) {
    return {_mm512_cvtepi32_ps(reinterpret_cast<__m512i>(a.v))};
}
// As integers, infinity is above all numbers and NaN above infinity.
SDN_INLINE vec larger_magnitude(vec a, vec b) {
    return {_mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(abs(a).v), _mm512_castps_si512(abs(b).v)))};
}
SDN_INLINE float magnitude(vec a) {
    const int largest = _mm512_reduce_max_epi32(_mm512_castps_si512(abs(a).v));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(largest)));
}
SDN_INLINE void store_bytes(void* p, vec a) {
    const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(128));
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(whole));
}

// As for bytes, only what multiplies halves is compiled for AVX512_FP16.
#if defined(SDN_MULTIPLIES_HALVES)
#define SDN_USES_HALVES __attribute__((target("avx512fp16")))
using any_float16 = _Float16 __attribute__((may_alias));

struct half_vec {
    __m512h v;
};

SDN_INLINE SDN_USES_HALVES void set_zero(half_vec& a) {
    a.v = _mm512_setzero_ph();
}
SDN_INLINE SDN_USES_HALVES void set_broadcast(half_vec& a, const uint16_t* bits) {
    a.v = _mm512_set1_ph(*reinterpret_cast<const any_float16*>(bits));
}
SDN_INLINE SDN_USES_HALVES void set_load(half_vec& a, const uint16_t* p) {
    a.v = _mm512_loadu_ph(p);
}
SDN_INLINE SDN_USES_HALVES half_vec fma(half_vec a, half_vec b, half_vec c) {
    return {_mm512_fmadd_ph(a.v, b.v, c.v)};
}
SDN_INLINE SDN_USES_HALVES void store(uint16_t* p, half_vec a) {
    _mm512_storeu_ph(p, a.v);
}
SDN_INLINE void store_float16(void* p, vec a) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
SDN_INLINE uint32_t bits_of_scalar(float x) {
    return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(_mm_set_ss(x))));
}
SDN_INLINE float scalar_from_bits(uint32_t bits) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(bits))));
}
#endif

}  // namespace sdn::cpu::SDN_ISA
