#include "core/dtype.h"

#include <bit>

#include "core/dtype_inline.h"

namespace sdn {

bool is_dtype(int32_t dtype) {
    return dtype >= SDN_FLOAT32 && dtype <= SDN_UINT8;
}

int64_t dtype_bytes(int32_t dtype) {
    constexpr int64_t kBytes[] = {4, 2, 2, 8, 4, 8, 1, 1};
    return is_dtype(dtype) || dtype == SDN_INT8 ? kBytes[dtype] : 0;
}

const char* dtype_name(int32_t dtype) {
    constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "float64", "int32", "int64", "uint8", "int8"};
    return is_dtype(dtype) || dtype == SDN_INT8 ? kNames[dtype] : "unknown dtype";
}

bool is_float_dtype(int32_t dtype) {
    return dtype >= SDN_FLOAT32 && dtype <= SDN_FLOAT64;
}

namespace {

// Rounds to 16 bits with `mantissa` mantissa bits and this exponent bias.
uint16_t round_double(double value, int mantissa, int bias) {
    constexpr int kMantissa = 52, kBias = 1023, kExponentMax = 2047;
    const uint64_t bits = std::bit_cast<uint64_t>(value);
    const uint32_t sign = static_cast<uint32_t>(bits >> 63) << 15;
    const int exponent = static_cast<int>(bits >> kMantissa & kExponentMax), exponent_max = (1 << (15 - mantissa)) - 1;
    const uint32_t infinity = static_cast<uint32_t>(exponent_max) << mantissa;
    uint64_t fraction = bits & ((uint64_t{1} << kMantissa) - 1);

    if (exponent == kExponentMax) {
        const uint32_t quiet = 1u << (mantissa - 1), payload = static_cast<uint32_t>(fraction >> (kMantissa - mantissa));
        return static_cast<uint16_t>(sign | infinity | (fraction != 0 ? quiet | payload : 0));
    }
    int target = exponent - kBias + bias;  // exponent field of the result, if it is a normal number
    if (target >= exponent_max) return static_cast<uint16_t>(sign | infinity);
    if (exponent == 0) return static_cast<uint16_t>(sign);  // a subnormal float64 is far below either format
    fraction |= uint64_t{1} << kMantissa;
    int drop = kMantissa - mantissa;  // low bits to round away
    if (target <= 0) {
        drop += 1 - target;
        target = 1;
        if (drop > kMantissa + 1) return static_cast<uint16_t>(sign);  // below half of the smallest subnormal
    }
    const uint64_t half = uint64_t{1} << (drop - 1), rest = fraction & ((uint64_t{1} << drop) - 1);
    uint64_t rounded = fraction >> drop;
    if (rest > half || (rest == half && (rounded & 1) != 0)) ++rounded;
    // A normal number's leading one adds 1 to the exponent field, and so does a carry: both by plain addition.
    return static_cast<uint16_t>(sign + (static_cast<uint32_t>(target - 1) << mantissa) + static_cast<uint32_t>(rounded));
}

}  // namespace

uint16_t half_from_float(float value) {
    return baseline::half_from_float(value);
}
uint16_t half_from_double(double value) {
    return round_double(value, 10, 15);
}
float float_from_half(uint16_t bits) {
    return baseline::float_from_half(bits);
}
uint16_t bfloat16_from_float(float value) {
    return baseline::bfloat16_from_float(value);
}
uint16_t bfloat16_from_double(double value) {
    return round_double(value, 7, 127);
}
float float_from_bfloat16(uint16_t bits) {
    return baseline::float_from_bfloat16(bits);
}

}  // namespace sdn
