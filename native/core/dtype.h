// Element types: sizes, names, and scalar conversions that round to nearest even.
#pragma once

#include <cstdint>

#include "sdn.h"

namespace sdn {

bool is_dtype(int32_t dtype);           // of tensors; SDN_INT8 is for weights only
int64_t dtype_bytes(int32_t dtype);     // 0 for an unknown one
const char* dtype_name(int32_t dtype);  // "float32"; "unknown dtype"
bool is_float_dtype(int32_t dtype);

// Half precision and bfloat16 by their bits. Subnormals, infinities and NaN (kept quiet, with the leading payload bits) included.
// From float64 they round once, not by way of float32.
uint16_t half_from_float(float value);
uint16_t half_from_double(double value);
float float_from_half(uint16_t bits);
uint16_t bfloat16_from_float(float value);
uint16_t bfloat16_from_double(double value);
float float_from_bfloat16(uint16_t bits);

}  // namespace sdn
