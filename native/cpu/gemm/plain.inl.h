// Scalar reads, writes and activations of the plain kernels.
#pragma once

#include "core/dtype.h"
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

inline float read_float(const void* data, int32_t dtype, int64_t i) {
    switch (dtype) {
        case SDN_FLOAT16:
            return float_from_half(static_cast<const uint16_t*>(data)[i]);
        case SDN_BFLOAT16:
            return float_from_bfloat16(static_cast<const uint16_t*>(data)[i]);
        default:
            return static_cast<const float*>(data)[i];
    }
}

inline uint16_t narrow_16(double value, int32_t storage) {
    return storage == SDN_FLOAT16 ? half_from_double(value) : bfloat16_from_double(value);
}

inline float gelu(float x) {
    return x * 0.5f * (1.0f + __builtin_erff(x * 0.70710678118654752f));
}

inline float activate(float x, int32_t activation) {
    switch (activation) {
        case SDN_ACTIVATION_SILU:
            return x / (1.0f + __builtin_expf(-x));
        case SDN_ACTIVATION_GELU:
            return gelu(x);
        case SDN_ACTIVATION_QUICK_GELU:
            return x / (1.0f + __builtin_expf(-1.702f * x));
        default:
            return x;
    }
}

// sums[0..16) += x[k] * panel row k for k in [0, count), beginning at panel row first_k.
inline void multiply_panel(const PackedMatrix& m, int64_t panel, int64_t first_k, const float* x, int64_t count, float* sums) {
    const int64_t base = (panel * m.columns + first_k) * 16;
    for (int64_t k = 0; k < count; ++k) {
        if (m.storage == SDN_FLOAT32) {
            const float* w = static_cast<const float*>(m.data) + base + k * 16;
            for (int j = 0; j < 16; ++j) sums[j] += x[k] * w[j];
        } else {
            for (int j = 0; j < 16; ++j) sums[j] += x[k] * read_float(m.data, m.storage, base + k * 16 + j);
        }
    }
}

}  // namespace sdn::cpu::SDN_ISA
