#include "core/dtype.h"

#include <bit>

namespace sdn {

bool is_dtype(int32_t dtype) {
    return dtype >= SDN_FLOAT32 && dtype <= SDN_UINT8;
}

int64_t dtype_bytes(int32_t dtype) {
    constexpr int64_t kBytes[] = {4, 2, 2, 8, 4, 8, 1};
    return is_dtype(dtype) ? kBytes[dtype] : 0;
}

const char* dtype_name(int32_t dtype) {
    constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "float64", "int32", "int64", "uint8"};
    return is_dtype(dtype) ? kNames[dtype] : "unknown dtype";
}

bool is_float_dtype(int32_t dtype) {
    return dtype >= SDN_FLOAT32 && dtype <= SDN_FLOAT64;
}

namespace {

// Rounds an IEEE number of Bits (mantissa of kMantissa bits, exponent bias kBias) to 16 bits with `mantissa` mantissa bits.
template <class Bits, int kWidth, int kMantissa, int kBias>
uint16_t round_to_16(Bits bits, int mantissa, int bias) {
    const uint16_t sign = static_cast<uint16_t>(bits >> (kWidth - 1) << 15);
    const Bits fraction_mask = (Bits{1} << kMantissa) - 1;
    const int exponent = static_cast<int>(bits >> kMantissa & ((Bits{1} << (kWidth - 1 - kMantissa)) - 1));
    const int exponent_max = (1 << (15 - mantissa)) - 1;
    Bits fraction = bits & fraction_mask;
    const uint16_t infinity = static_cast<uint16_t>(exponent_max << mantissa);

    if (exponent == (1 << (kWidth - 1 - kMantissa)) - 1) {
        if (fraction == 0) return sign | infinity;
        return sign | infinity | static_cast<uint16_t>(1 << (mantissa - 1)) | static_cast<uint16_t>(fraction >> (kMantissa - mantissa));
    }
    int target = exponent - kBias + bias;  // exponent field of the result, if it is a normal number
    if (target >= exponent_max) return sign | infinity;
    int drop = kMantissa - mantissa;  // low bits to round away
    if (exponent != 0) fraction |= Bits{1} << kMantissa;
    if (target <= 0) {
        // Subnormal in the result; a subnormal source has the exponent of the smallest normal one.
        drop += 1 - target - (exponent == 0 ? 1 : 0);
        if (drop > kMantissa + 1) return sign;  // below half of the smallest subnormal
        target = 0;
    }
    const Bits half = Bits{1} << (drop - 1), rest = fraction & ((Bits{1} << drop) - 1);
    Bits rounded = fraction >> drop;
    if (rest > half || (rest == half && (rounded & 1) != 0)) ++rounded;
    // A normal number's leading one adds 1 to the exponent field, and so does a carry: both by plain addition.
    if (target > 0) return static_cast<uint16_t>(sign + ((target - 1) << mantissa) + static_cast<uint16_t>(rounded));
    return static_cast<uint16_t>(sign + static_cast<uint16_t>(rounded));
}

uint16_t round_float(float value, int mantissa, int bias) {
    return round_to_16<uint32_t, 32, 23, 127>(std::bit_cast<uint32_t>(value), mantissa, bias);
}

uint16_t round_double(double value, int mantissa, int bias) {
    return round_to_16<uint64_t, 64, 52, 1023>(std::bit_cast<uint64_t>(value), mantissa, bias);
}

}  // namespace

uint16_t half_from_float(float value) {
    return round_float(value, 10, 15);
}
uint16_t half_from_double(double value) {
    return round_double(value, 10, 15);
}

float float_from_half(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ffu;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
}

uint16_t bfloat16_from_float(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

uint16_t bfloat16_from_double(double value) {
    return round_double(value, 7, 127);
}
float float_from_bfloat16(uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace sdn
