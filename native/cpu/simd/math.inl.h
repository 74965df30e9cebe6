// Elementary functions of `vec`, accurate to about 2 units in the last place over the whole range of float.
#pragma once

#include "cpu/simd/vec.inl.h"

namespace sdn::cpu::SDN_ISA {

// e^r for |r| <= log(2)/2: minimax polynomial of the relative error, 1.9e-9.
SDN_INLINE vec exp_core(vec r) {
    vec p = broadcast(1.38368508e-3f);
    p = fma(p, r, broadcast(8.37481577e-3f));
    p = fma(p, r, broadcast(4.16682255e-2f));
    p = fma(p, r, broadcast(1.66664202e-1f));
    p = fma(p, r, broadcast(4.99999921e-1f));
    p = fma(p, r, broadcast(1.0f));
    return fma(p, r, broadcast(1.0f));
}

SDN_INLINE vec exp(vec x) {
    x = minimum(broadcast(89.0f), maximum(broadcast(-104.0f), x));  // inf and 0 from there on; NaN stays
    const vec n = round(x * broadcast(1.44269504f));
    vec r = fma(n, broadcast(-0.693359375f), x);  // exact: 9 bits of log(2) times 8 bits of n
    r = fma(n, broadcast(2.12194440e-4f), r);
    return scale_by_power_of_two(exp_core(r), n);
}

// 2^x for x <= 127, and 2^-126 for all x below -126: a softmax needs no smaller ones. Minimax polynomial of the relative error for
// |r| <= 1/2 with p(0) = 1, 9.1e-8.
SDN_INLINE vec exp2(vec x) {
    x = maximum(broadcast(-126.0f), x);
    const vec shifted = x + broadcast(kShift);
    const vec r = x - (shifted - broadcast(kShift));
    vec p = broadcast(1.32647285e-3f);
    p = fma(p, r, broadcast(9.67151392e-3f));
    p = fma(p, r, broadcast(5.55073358e-2f));
    p = fma(p, r, broadcast(2.40222424e-1f));
    p = fma(p, r, broadcast(6.93147004e-1f));
    return add_to_exponent(fma(p, r, broadcast(1.0f)), shifted);
}

SDN_INLINE vec sigmoid(vec x) {
    return broadcast(1.0f) / (broadcast(1.0f) + exp(zero() - x));
}
SDN_INLINE vec silu(vec x) {
    return x / (broadcast(1.0f) + exp(zero() - x));
}
SDN_INLINE vec quick_gelu(vec x) {
    return x / (broadcast(1.0f) + exp(x * broadcast(-1.702f)));
}
SDN_INLINE vec relu(vec x) {
    return maximum(zero(), x);  // in this order NaN stays NaN
}

// Near 0, where 1 - 2 / (e^2x + 1) would lose digits, the odd polynomial of Cephes' tanhf.
SDN_INLINE vec tanh(vec x) {
    const vec a = abs(x), square = x * x;
    vec p = broadcast(-5.70498872745e-3f);
    p = fma(p, square, broadcast(2.06390887954e-2f));
    p = fma(p, square, broadcast(-5.37397155531e-2f));
    p = fma(p, square, broadcast(1.33314422036e-1f));
    p = fma(p, square, broadcast(-3.33332819422e-1f));
    const vec near_zero = fma(p * square, x, x);
    const vec far = broadcast(1.0f) - broadcast(2.0f) / (exp(a + a) + broadcast(1.0f));
    return select_less(a, broadcast(0.625f), near_zero, select_less(x, zero(), zero() - far, far));
}

// The normal distribution function at -a, a >= 0: erfc(a / sqrt 2) / 2. exp(-a^2/2) times a polynomial in 1 / (1 + a/4) that is
// minimax for a <= 14, relative error 1.4e-8; the rounding of a^2 is made good to first order.
SDN_INLINE vec normal_tail(vec a) {
    a = minimum(broadcast(20.0f), a);  // 0 from there on
    const vec square = a * a;
    const vec rounding = fma(a, a, zero() - square);
    const vec gauss = exp(square * broadcast(-0.5f));
    const vec t = broadcast(1.0f) / fma(a, broadcast(0.25f), broadcast(1.0f));
    vec p = broadcast(3.394687285e-2f);
    p = fma(p, t, broadcast(-1.961781328e-1f));
    p = fma(p, t, broadcast(3.950033227e-1f));
    p = fma(p, t, broadcast(-3.33471748e-1f));
    p = fma(p, t, broadcast(3.044889331e-1f));
    p = fma(p, t, broadcast(-2.038514618e-2f));
    p = fma(p, t, broadcast(1.215683116e-1f));
    p = fma(p, t, broadcast(9.482017237e-2f));
    p = fma(p, t, broadcast(1.002290078e-1f));
    p = fma(p, t, broadcast(-2.160056981e-5f));
    return p * fma(gauss * broadcast(-0.5f), rounding, gauss);
}

// x * (1 + erf(x / sqrt 2)) / 2. Through the tail, so that large negative x lose no digits.
SDN_INLINE vec gelu(vec x) {
    const vec tail = normal_tail(abs(x));
    return x * select_less(x, zero(), tail, broadcast(1.0f) - tail);
}

}  // namespace sdn::cpu::SDN_ISA
