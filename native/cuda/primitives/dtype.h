// The 16-bit floats, as payloads: half (IEEE binary16) and bfloat16. Arithmetic is done in float; conversions round to nearest even.
#pragma once

#include <type_traits>

#include "cuda/primitives/target.h"
#if defined(SDN_EMULATION)
#include "core/dtype_inline.h"
#endif

namespace sdn::cuda::SDN_TARGET {

struct half {
    uint16_t bits;
};
struct bfloat16 {
    uint16_t bits;
};

template <class T>
inline constexpr bool is_16_bit = false;
template <>
inline constexpr bool is_16_bit<half> = true;
template <>
inline constexpr bool is_16_bit<bfloat16> = true;

#if defined(SDN_EMULATION)

SDN_DEVICE float to_float(half value) {
    return baseline::float_from_half(value.bits);
}
SDN_DEVICE float to_float(bfloat16 value) {
    return baseline::float_from_bfloat16(value.bits);
}
SDN_DEVICE half half_from(float value) {
    return {baseline::half_from_float(value)};
}
SDN_DEVICE bfloat16 bfloat16_from(float value) {
    return {baseline::bfloat16_from_float(value)};
}

#else

SDN_DEVICE float to_float(half value) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
}
SDN_DEVICE float to_float(bfloat16 value) {
    return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}
SDN_DEVICE half half_from(float value) {
    half result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
}
SDN_DEVICE bfloat16 bfloat16_from(float value) {
    bfloat16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
}

#endif

SDN_DEVICE float to_float(float value) {
    return value;
}

// from_float<T>(x): x rounded to T.
template <class T>
SDN_DEVICE T from_float(float value) {
    if constexpr (std::is_same_v<T, half>)
        return half_from(value);
    else if constexpr (std::is_same_v<T, bfloat16>)
        return bfloat16_from(value);
    else
        return value;
}

// Two values of a 16-bit type in one register, the first in the low half.
template <class T>
SDN_DEVICE uint32_t pack2(float low, float high) {
#if defined(SDN_EMULATION)
    return static_cast<uint32_t>(from_float<T>(low).bits) | static_cast<uint32_t>(from_float<T>(high).bits) << 16;
#else
    uint32_t pair;
    if constexpr (std::is_same_v<T, half>)
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    else
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}
template <class T>
SDN_DEVICE float low_of(uint32_t pair) {
    return to_float(T{static_cast<uint16_t>(pair)});
}
template <class T>
SDN_DEVICE float high_of(uint32_t pair) {
    return to_float(T{static_cast<uint16_t>(pair >> 16)});
}

}  // namespace sdn::cuda::SDN_TARGET
