// The conversions of dtype.h without branches, so that a loop over them becomes vector code. For baseline files only: included in a
// kernel file they would be compiled for its instruction set, and the linker could take that copy for everybody.
#pragma once

#include <bit>
#include <cstdint>

namespace sdn::baseline {

inline uint16_t half_from_float(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
    // Exponent moved from bias 127 to 15; a half unit of the last place, less one where that is even, carries the rounding.
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    // Added to 1/2, whose last place is the smallest subnormal, the sum is rounded by the machine.
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
    result = magnitude >= 0x477ff000u ? 0x7c00u : result;                              // 65520 and more
    result = magnitude > 0x7f800000u ? 0x7e00u | (magnitude >> 13 & 0x3ffu) : result;  // NaN
    return static_cast<uint16_t>(result | (bits >> 16 & 0x8000u));
}

inline float float_from_half(uint16_t half) {
    const uint32_t magnitude = (half & 0x7fffu) << 13, sign = (half & 0x8000u) << 16;
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude + 0x38800000u) - 0x1p-14f);
    uint32_t result = magnitude < 0x00800000u ? subnormal : magnitude + 0x38000000u;
    result = magnitude >= 0x0f800000u ? magnitude + 0x70000000u : result;  // infinity, NaN
    return std::bit_cast<float>(result | sign);
}

inline uint16_t bfloat16_from_float(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40u;
    return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

inline float float_from_bfloat16(uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace sdn::baseline
