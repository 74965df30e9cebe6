// The activation functions, of one float: once as exact as float32 allows, and once by approximations a few float32 units off, for results
// that are rounded to 16 bits.
#pragma once

#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

// x * (1 + erf(x / sqrt 2)) / 2, by erfc so that large negative x lose no digits; what rounding took off the argument is made good to
// first order.
SDN_DEVICE float gelu_exact(float x) {
    const float z = -0.707106781f * x;
    const float rest = fmaf(-0.707106781f, x, -z) - 1.21016172e-8f * x;
    const float tail = erfcf(z) - 1.12837917f * expf(-z * z) * rest;
    return 0.5f * x * tail;
}

// NaN stays NaN.
SDN_DEVICE float relu(float x) {
    return x < 0.0f ? 0.0f : x;
}

SDN_DEVICE float activate_exact(float x, int32_t activation) {
    if (activation == SDN_ACTIVATION_SILU) return x / (1.0f + expf(-x));
    if (activation == SDN_ACTIVATION_GELU) return gelu_exact(x);
    if (activation == SDN_ACTIVATION_QUICK_GELU) return x / (1.0f + expf(-1.702f * x));
    if (activation == SDN_ACTIVATION_RELU) return relu(x);
    if (activation == SDN_ACTIVATION_TANH) return tanhf(x);
    return x;
}

// Overflow of the power gives 0, as it must.
SDN_DEVICE float sigmoid_approx(float x) {
    return reciprocal_approx(1.0f + exp2_approx(-1.44269504f * x));
}

SDN_DEVICE float silu_approx(float x) {
    return x * sigmoid_approx(x);
}

// x times the normal distribution function, whose tail is erfc(|x| / sqrt 2) / 2 by formula 7.1.26 of Abramowitz and Stegun: within 7.5e-8.
SDN_DEVICE float gelu_approx(float x) {
    const float t = reciprocal_approx(fmaf(0.231641888f, fabsf(x), 1.0f));
    float tail = fmaf(0.530702715f, t, -0.726576014f);
    tail = fmaf(tail, t, 0.710706871f);
    tail = fmaf(tail, t, -0.142248368f);
    tail = fmaf(tail, t, 0.127414796f);
    tail *= t * exp2_approx(-0.721347520f * x * x);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

SDN_DEVICE float activate_approx(float x, int32_t activation) {
    if (activation == SDN_ACTIVATION_SILU) return silu_approx(x);
    if (activation == SDN_ACTIVATION_GELU) return gelu_approx(x);
    if (activation == SDN_ACTIVATION_QUICK_GELU) return x * sigmoid_approx(1.702f * x);
    if (activation == SDN_ACTIVATION_RELU) return relu(x);
    if (activation == SDN_ACTIVATION_TANH) return tanhf(x);
    return x;
}

}  // namespace sdn::cuda::SDN_TARGET
