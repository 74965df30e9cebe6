// `vec` in plain C++: 4 lanes, for machines without AVX2 and as the reference of the other two. See vec.inl.h.
#pragma once

#include <cmath>
#include <cstring>

#include "core/dtype.h"

namespace sdn::cpu::SDN_ISA {

constexpr int kLanes = 4;

#if defined(__GNUC__)
typedef float Four __attribute__((vector_size(16)));  // SSE2, NEON, or whatever the machine has
#else
struct Four {
    float v[4];

    float& operator[](int i) { return v[i]; }
    float operator[](int i) const { return v[i]; }
};
SDN_INLINE Four operator+(Four a, Four b) {
    return {{a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]}};
}
SDN_INLINE Four operator-(Four a, Four b) {
    return {{a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]}};
}
SDN_INLINE Four operator*(Four a, Four b) {
    return {{a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]}};
}
SDN_INLINE Four operator/(Four a, Four b) {
    return {{a[0] / b[0], a[1] / b[1], a[2] / b[2], a[3] / b[3]}};
}
#endif

struct vec {
    Four v;
};

using narrow_vec = vec;
constexpr int kNarrowLanes = kLanes;

SDN_INLINE vec broadcast(float x) {
    return {Four{x, x, x, x}};
}
SDN_INLINE vec zero() {
    return broadcast(0.0f);
}
SDN_INLINE vec load(const float* p) {
    vec r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
}
SDN_INLINE vec load_partial(const float* p, int64_t n) {
    vec r = zero();
    for (int64_t i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
}
SDN_INLINE vec load_float16(const void* p) {
    uint16_t bits[4];
    std::memcpy(bits, p, sizeof bits);
    return {Four{float_from_half(bits[0]), float_from_half(bits[1]), float_from_half(bits[2]), float_from_half(bits[3])}};
}
SDN_INLINE vec load_bfloat16(const void* p) {
    uint16_t bits[4];
    std::memcpy(bits, p, sizeof bits);
    vec r;
    for (int i = 0; i < 4; ++i) {
        const uint32_t wide = static_cast<uint32_t>(bits[i]) << 16;
        float value;
        std::memcpy(&value, &wide, sizeof value);
        r.v[i] = value;
    }
    return r;
}
SDN_INLINE void store(float* p, vec a) {
    std::memcpy(p, &a.v, sizeof a.v);
}
SDN_INLINE void store_partial(float* p, vec a, int64_t n) {
    for (int64_t i = 0; i < n; ++i) p[i] = a.v[i];
}

SDN_INLINE vec operator+(vec a, vec b) {
    return {a.v + b.v};
}
SDN_INLINE vec operator-(vec a, vec b) {
    return {a.v - b.v};
}
SDN_INLINE vec operator*(vec a, vec b) {
    return {a.v * b.v};
}
SDN_INLINE vec operator/(vec a, vec b) {
    return {a.v / b.v};
}
SDN_INLINE vec fma(vec a, vec b, vec c) {
    return a * b + c;
}
SDN_INLINE vec select_less(vec a, vec b, vec x, vec y) {
    vec r;
    for (int i = 0; i < 4; ++i) r.v[i] = a.v[i] < b.v[i] ? x.v[i] : y.v[i];
    return r;
}
SDN_INLINE vec maximum(vec a, vec b) {
    return select_less(b, a, a, b);
}
SDN_INLINE vec minimum(vec a, vec b) {
    return select_less(a, b, a, b);
}
SDN_INLINE vec abs(vec a) {
    for (int i = 0; i < 4; ++i) a.v[i] = std::fabs(a.v[i]);
    return a;
}
SDN_INLINE vec round(vec a) {
    const vec shift = broadcast(kShift);
    return (a + shift) - shift;
}

// 2^n for integral -126 <= n <= 127; for any other n some number.
SDN_INLINE float power_of_two(int32_t n) {
    const uint32_t bits = (static_cast<uint32_t>(n) + 127u) << 23;
    float r;
    std::memcpy(&r, &bits, sizeof r);
    return r;
}
SDN_INLINE vec scale_by_power_of_two(vec a, vec n) {
    uint32_t shift_bits, bits;
    std::memcpy(&shift_bits, &kShift, sizeof shift_bits);
    for (int i = 0; i < 4; ++i) {
        const float shifted = n.v[i] + kShift;
        std::memcpy(&bits, &shifted, sizeof bits);
        const int32_t whole = static_cast<int32_t>(bits - shift_bits);
        const int32_t half = whole / 2;
        a.v[i] = a.v[i] * power_of_two(half) * power_of_two(whole - half);
    }
    return a;
}
SDN_INLINE vec add_to_exponent(vec a, vec shifted) {
    for (int i = 0; i < 4; ++i) {
        const float value = a.v[i], exponent = shifted.v[i];
        uint32_t bits, n;
        std::memcpy(&bits, &value, sizeof bits);
        std::memcpy(&n, &exponent, sizeof n);
        bits += n << 23;
        std::memcpy(&a.v[i], &bits, sizeof bits);
    }
    return a;
}
SDN_INLINE float sum(vec a) {
    return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
}
SDN_INLINE float maximum(vec a) {
    const float low = a.v[0] > a.v[2] ? a.v[0] : a.v[2];
    const float high = a.v[1] > a.v[3] ? a.v[1] : a.v[3];
    return low > high ? low : high;
}

// The lanes' bits, which may be no number at all and so do not pass through float variables.
struct Lanes {
    uint32_t bits[kLanes];
};
SDN_INLINE Lanes lanes_of(vec a) {
    Lanes r;
    std::memcpy(r.bits, &a.v, sizeof r.bits);
    return r;
}
SDN_INLINE vec vec_of(const Lanes& lanes) {
    vec r;
    std::memcpy(&r.v, lanes.bits, sizeof r.v);
    return r;
}
SDN_INLINE vec load_halves(const void* p) {
    uint16_t halves[kLanes];
    std::memcpy(halves, p, sizeof halves);
    return vec_of({{halves[0], halves[1], halves[2], halves[3]}});
}
SDN_INLINE void store_halves(void* p, vec a) {
    const Lanes lanes = lanes_of(a);
    uint16_t halves[kLanes];
    for (int i = 0; i < kLanes; ++i) halves[i] = static_cast<uint16_t>(lanes.bits[i]);
    std::memcpy(p, halves, sizeof halves);
}
SDN_INLINE vec float16_bits(vec a) {
    Lanes r;
    for (int i = 0; i < kLanes; ++i) r.bits[i] = half_from_float(a.v[i]);
    return vec_of(r);
}
SDN_INLINE vec bfloat16_bits(vec a) {
    Lanes r;
    for (int i = 0; i < kLanes; ++i) r.bits[i] = bfloat16_from_float(a.v[i]);
    return vec_of(r);
}
SDN_INLINE vec join_halves(vec a, vec b) {
    Lanes r = lanes_of(a);
    const Lanes upper = lanes_of(b);
    for (int i = 0; i < kLanes; ++i) r.bits[i] |= upper.bits[i] << 16;
    return vec_of(r);
}
SDN_INLINE void transpose(vec (&rows)[kLanes]) {
    Lanes from[kLanes], to[kLanes];
    for (int i = 0; i < kLanes; ++i) from[i] = lanes_of(rows[i]);
    for (int i = 0; i < kLanes; ++i) {
        for (int j = 0; j < kLanes; ++j) to[j].bits[i] = from[i].bits[j];
    }
    for (int i = 0; i < kLanes; ++i) rows[i] = vec_of(to[i]);
}

}  // namespace sdn::cpu::SDN_ISA
