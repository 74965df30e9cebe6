// The float vector `vec` of the instruction set that this file is compiled for, and its few operations. The three implementations
// hold the only intrinsics of the CPU kernels and agree in meaning:
//   kLanes                                floats per vec
//   zero() broadcast(x) load(p)          any alignment
//   load_partial(p, n) store_partial     the first n lanes, 0 <= n <= kLanes; loaded lanes past n are 0
//   load_float16(p) load_bfloat16(p)     widened to float
//   fma(a, b, c)                         a * b + c; rounded once where the machine has it
//   maximum(a, b) minimum(a, b)          b where either is NaN
//   abs(a) round(a)                      round to nearest integer, ties to even, |a| < 2^22
//   scale_by_power_of_two(a, n)          a * 2^n for integral -250 <= n <= 250, with gradual underflow
//   add_to_exponent(a, n + kShift)        a * 2^n for integral n, where neither a nor the result is subnormal
//   select_less(a, b, x, y)              x where a < b, else y
//   sum(a) maximum(a)                    over the lanes, in one fixed order
//   load_halves(p)                       kLanes 16-bit numbers as they stand, each in the lower half of a lane's bits
//   float16_bits(a) bfloat16_bits(a)     rounded once to nearest even, subnormals and NaN included, in the lower half of a lane's bits
//   store_halves(p, a)                   the lower halves
//   join_halves(a, b)                    the lower halves of a, and above them those of b
//   transpose(rows)                      of kLanes vecs: lane j of rows[i] and lane i of rows[j] change places
//   narrow_vec kNarrowLanes              what serves a few columns better than a whole vec does, or vec itself
//   set_zero(a) set_broadcast(a, x) set_load(a, p)   for code that is written for vec and narrow_vec
// and where SDN_MULTIPLIES_PAIRS is defined
//   pair_vec narrow_pair_vec             kLanes, kNarrowLanes pairs of bfloat16, the first in the lower half of 32 bits
//   fma(a, b, c)                         c + a.first * b.first + a.second * b.second per lane, of pairs into floats
//   load_firsts(p) load_seconds(p)       of kLanes pairs, widened to float
//   store_bfloat16(p, a)                 rounded to nearest even; subnormals become zero
// and where SDN_MULTIPLIES_BYTES is defined, for machines with AVX512_VNNI:
//   byte_vec int_vec                     kLanes times four bytes; kLanes int32
//   multiply_add(a, b, c)                c + the four products of each lane, of a's bytes without a sign and b's with one; in functions
//                                        marked SDN_USES_BYTES only
//   larger_magnitude(a, b) magnitude(a)  max(|a|, |b|), and max |a| over the lanes; NaN where there is one
//   store_bytes(p, a)                    round(a) + 128, kLanes of them, |a| <= 127
// and where SDN_MULTIPLIES_HALVES is defined, for machines with AVX512_FP16:
//   half_vec                             2 kLanes float16; their operations in functions marked SDN_USES_HALVES only
//   fma(a, b, c)                         a * b + c rounded to float16
//   store_float16(p, a)                  rounded to nearest even
//   bits_of_scalar(x) scalar_from_bits   of a float
#pragma once

#include <cstdint>

#include "cpu/kernel_api.h"

#if defined(_MSC_VER) && !defined(__clang__)
#define SDN_INLINE __forceinline
#define SDN_NOINLINE __declspec(noinline)
#define SDN_UNROLL
#else
#define SDN_INLINE inline __attribute__((always_inline))
#define SDN_NOINLINE __attribute__((noinline))
#define SDN_UNROLL _Pragma("GCC unroll 32")  // fully: the loops it marks have small constant counts
#endif

namespace sdn::cpu::SDN_ISA {

// 1.5 * 2^23: the unit of a float near it is 1, so adding it rounds to an integer, ties to even, which is then in the low bits.
constexpr float kShift = 12582912.0f;

}  // namespace sdn::cpu::SDN_ISA

#if defined(__AVX512F__)
#include "cpu/simd/vec_avx512.inl.h"
#elif defined(__AVX2__)
#include "cpu/simd/vec_avx2.inl.h"
#else
#include "cpu/simd/vec_portable.inl.h"
#endif

namespace sdn::cpu::SDN_ISA {

SDN_INLINE vec& operator+=(vec& a, vec b) {
    return a = a + b;
}
SDN_INLINE vec& operator*=(vec& a, vec b) {
    return a = a * b;
}

SDN_INLINE void set_zero(vec& a) {
    a = zero();
}
SDN_INLINE void set_broadcast(vec& a, float x) {
    a = broadcast(x);
}
SDN_INLINE void set_load(vec& a, const float* p) {
    a = load(p);
}

// Begins to fetch the cache line at p, into the level-2 cache. Any address will do.
SDN_INLINE void prefetch(const void* p) {
#if defined(_MSC_VER) && !defined(__clang__)
    (void)p;
#else
    __builtin_prefetch(p, 0, 2);
#endif
}
SDN_INLINE void prefetch_floats(const float* p, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) prefetch(p + i);
}

}  // namespace sdn::cpu::SDN_ISA
