// One element of any dtype to any other, chosen at run time: the branch is the same for a whole grid, so it costs little beside the
// memory it waits for, and no kernel has to exist 49 times. As cpu/copy.cpp: floats round to nearest even once; to an integer goes
// towards zero, out of range to the nearest bound, NaN to 0.
#pragma once

#include <bit>

#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

// The float32, float16 or bfloat16 element i as float.
SDN_DEVICE float load_float(const void* data, int32_t dtype, int64_t i) {
    if (dtype == SDN_FLOAT32) return static_cast<const float*>(data)[i];
    if (dtype == SDN_FLOAT16) return to_float(static_cast<const half*>(data)[i]);
    return to_float(static_cast<const bfloat16*>(data)[i]);
}
SDN_DEVICE void store_float(void* data, int32_t dtype, int64_t i, float value) {
    if (dtype == SDN_FLOAT32)
        static_cast<float*>(data)[i] = value;
    else if (dtype == SDN_FLOAT16)
        static_cast<half*>(data)[i] = half_from(value);
    else
        static_cast<bfloat16*>(data)[i] = bfloat16_from(value);
}

SDN_HOST_DEVICE bool is_activation_dtype(int32_t dtype) {
    return dtype == SDN_FLOAT32 || dtype == SDN_FLOAT16 || dtype == SDN_BFLOAT16;
}

// Element i of 1, 2, 4 or 8 bytes, as it is.
SDN_DEVICE uint64_t load_bits(const void* data, int bytes, int64_t i) {
    if (bytes == 4) return static_cast<const uint32_t*>(data)[i];
    if (bytes == 2) return static_cast<const uint16_t*>(data)[i];
    if (bytes == 8) return static_cast<const uint64_t*>(data)[i];
    return static_cast<const uint8_t*>(data)[i];
}
SDN_DEVICE void store_bits(void* data, int bytes, int64_t i, uint64_t bits) {
    if (bytes == 4)
        static_cast<uint32_t*>(data)[i] = static_cast<uint32_t>(bits);
    else if (bytes == 2)
        static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bits);
    else if (bytes == 8)
        static_cast<uint64_t*>(data)[i] = bits;
    else
        static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(bits);
}

SDN_DEVICE float float_of_bits(int32_t dtype, uint64_t bits) {
    if (dtype == SDN_FLOAT32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (dtype == SDN_FLOAT16) return to_float(half{static_cast<uint16_t>(bits)});
    return to_float(bfloat16{static_cast<uint16_t>(bits)});
}
SDN_DEVICE uint64_t bits_of_float(int32_t dtype, float value) {
    if (dtype == SDN_FLOAT32) return std::bit_cast<uint32_t>(value);
    return dtype == SDN_FLOAT16 ? half_from(value).bits : bfloat16_from(value).bits;
}

// Towards zero, and then to the odd one of the two neighbours where it was not exact: a further rounding to 16 bits is then the same as
// one straight from `value`.
SDN_DEVICE float float_rounded_to_odd(double value) {
    const float nearest = static_cast<float>(value);
    const double back = static_cast<double>(nearest);
    if (back == value || value != value) return nearest;
    const uint32_t bits = std::bit_cast<uint32_t>(nearest);
    return std::bit_cast<float>((fabs(back) > fabs(value) ? bits - 1 : bits) | 1);
}

SDN_DEVICE uint64_t integer_bits_of_double(int32_t dtype, double value) {
    const double low = dtype == SDN_INT64 ? -0x1p63 : dtype == SDN_INT32 ? -0x1p31 : 0.0;
    const double high = dtype == SDN_INT64 ? 0x1p63 : dtype == SDN_INT32 ? 0x1p31 - 1 : 255.0;
    if (!(value > low)) return value == value ? static_cast<uint64_t>(static_cast<int64_t>(low)) : 0;
    if (value >= high) return dtype == SDN_INT64 ? 0x7fffffffffffffffu : static_cast<uint64_t>(high);
    return static_cast<uint64_t>(static_cast<int64_t>(value));
}
SDN_DEVICE uint64_t integer_bits_of_integer(int32_t dtype, int64_t value) {
    if (dtype == SDN_INT64) return static_cast<uint64_t>(value);
    const int64_t low = dtype == SDN_INT32 ? -0x80000000ll : 0, high = dtype == SDN_INT32 ? 0x7fffffffll : 255;
    return static_cast<uint64_t>(value < low ? low : value > high ? high : value);
}

// The bits of the value with these bits in x_dtype, as out_dtype.
SDN_DEVICE uint64_t convert_bits(int32_t out_dtype, int32_t x_dtype, uint64_t bits) {
    if (out_dtype == x_dtype) return bits;
    const bool from_float = is_activation_dtype(x_dtype);
    if (from_float && is_activation_dtype(out_dtype)) return bits_of_float(out_dtype, float_of_bits(x_dtype, bits));
    if (from_float || x_dtype == SDN_FLOAT64) {
        const double value = from_float ? static_cast<double>(float_of_bits(x_dtype, bits)) : std::bit_cast<double>(bits);
        if (out_dtype == SDN_FLOAT64) return std::bit_cast<uint64_t>(value);
        if (out_dtype == SDN_FLOAT32) return std::bit_cast<uint32_t>(static_cast<float>(value));
        if (is_activation_dtype(out_dtype)) return bits_of_float(out_dtype, float_rounded_to_odd(value));
        return integer_bits_of_double(out_dtype, value);
    }
    const int64_t value = x_dtype == SDN_INT64   ? static_cast<int64_t>(bits)
                          : x_dtype == SDN_INT32 ? static_cast<int64_t>(static_cast<int32_t>(bits))
                                                 : static_cast<int64_t>(bits);
    if (out_dtype == SDN_FLOAT64) return std::bit_cast<uint64_t>(static_cast<double>(value));
    if (out_dtype == SDN_FLOAT32) return std::bit_cast<uint32_t>(static_cast<float>(value));
    if (is_activation_dtype(out_dtype)) return bits_of_float(out_dtype, float_rounded_to_odd(static_cast<double>(value)));
    return integer_bits_of_integer(out_dtype, value);
}

}  // namespace sdn::cuda::SDN_TARGET
