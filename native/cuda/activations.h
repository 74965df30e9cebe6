// The activation functions, of one float. Errors: at most 16 float32 roundings of the result, or 4 of 1 where the result fades out.
#pragma once

#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

inline constexpr float kLog2E = 1.44269504f;

// x * sigmoid(factor * x), where factor_log2 is factor * log2(e). Overflow of the power gives 0, as it must.
SDN_DEVICE float sigmoid_weighted(float x, float factor_log2) {
    return x * reciprocal_approx(1.0f + exp2_approx(-factor_log2 * x));
}
SDN_DEVICE float silu(float x) {
    return sigmoid_weighted(x, kLog2E);
}
SDN_DEVICE float quick_gelu(float x) {
    return sigmoid_weighted(x, 1.702f * kLog2E);
}
// erf form. Through the complement, so that large negative x lose no digits.
SDN_DEVICE float gelu(float x) {
    return 0.5f * x * erfcf(-0.707106781f * x);
}

SDN_DEVICE float activate(float x, int32_t kind) {
    switch (kind) {
        case SDN_ACTIVATION_SILU:
            return silu(x);
        case SDN_ACTIVATION_GELU:
            return gelu(x);
        case SDN_ACTIVATION_QUICK_GELU:
            return quick_gelu(x);
        default:
            return x;
    }
}

}  // namespace sdn::cuda::SDN_TARGET
