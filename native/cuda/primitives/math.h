// Approximations that the GPU has instructions for. Everything else is <cmath>'s float functions (expf, erff, sqrtf, fmaf, ...), which
// nvcc and the CPU both have.
#pragma once

#include "cuda/primitives/target.h"

namespace sdn::cuda::SDN_TARGET {

#if defined(SDN_EMULATION)

SDN_DEVICE float exp2_approx(float x) {
    return exp2f(x);
}
SDN_DEVICE float reciprocal_approx(float x) {
    return 1.0f / x;
}
SDN_DEVICE float sqrt_reciprocal(float x) {
    return 1.0f / sqrtf(x);
}
SDN_DEVICE void sin_cos_approx(float x, float* sine, float* cosine) {
    *sine = sinf(x);
    *cosine = cosf(x);
}

#else

// 2^x, at most 2 ulp off; subnormal results become 0.
SDN_DEVICE float exp2_approx(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}
// 1/x, at most 1 ulp off.
SDN_DEVICE float reciprocal_approx(float x) {
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}
// 1/sqrt(x), at most 2 ulp off.
SDN_DEVICE float sqrt_reciprocal(float x) {
    return rsqrtf(x);
}
// As __sincosf: absolute error 2^-21 for |x| up to pi.
SDN_DEVICE void sin_cos_approx(float x, float* sine, float* cosine) {
    __sincosf(x, sine, cosine);
}

#endif

}  // namespace sdn::cuda::SDN_TARGET
