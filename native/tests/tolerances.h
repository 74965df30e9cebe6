// How far a result may be from its scalar twin in float64, and why. kUnit is the relative error of one float32 rounding.
//
// Roundings of a sum of K terms add up like a random walk: about sqrt(K) * kUnit of the terms' size. The factor c in front covers the
// inputs of the sum (each product one rounding), the epilogue, and that the largest error of many outputs is some 5 standard deviations.
#pragma once

#include <cmath>
#include <cstdint>

namespace sdn::test {

inline constexpr double kUnit = 0x1p-24;

// Errors relative to the largest value of the expected tensor:

// A dot product of K terms.
inline double dot_limit(int64_t k) {
    return 8 * kUnit * std::sqrt(static_cast<double>(k)) + 4 * kUnit;
}

// softmax(q k^T) v: the scores' error (K = head dim) becomes a relative error of the weights; their sum over the keys averages out.
inline double attention_limit(int64_t head_dim, int64_t keys) {
    return dot_limit(head_dim) + dot_limit(keys);
}

// A norm over `count` values: mean and variance are summed in float32 over runs of some hundred values and in float64 over these, so the
// statistics have a few roundings; scale, shift and activation add a handful. An offset of the data costs its ratio to the deviation.
inline double norm_limit(double offset_over_deviation) {
    return 32 * kUnit * (1 + offset_over_deviation);
}

// Errors relative to each value itself:

// exp, erf and the activations made of them: polynomials of a few units in the last place.
inline constexpr double kActivationRelative = 16 * kUnit;
// Where an activation crosses zero or fades out, its error is that of the terms it is a difference of.
inline constexpr double kActivationAbsolute = 4 * kUnit;

// sin, cos and linear combinations are computed in float64 and rounded once; 1.5 where the twin rounds the other way.
inline constexpr double kOneRounding = 1.5 * kUnit;
// A handful of float32 operations on a value.
inline constexpr double kFewRoundings = 6 * kUnit;

// Rounding an input to 16 bits, in relative terms.
inline constexpr double kFloat16Unit = 0x1p-11;
inline constexpr double kBFloat16Unit = 0x1p-8;

// A tensor core adds the products of a step to the sum with the digits beyond float32 cut off, not rounded: each addition errs by up to one
// unit in place of half.
inline constexpr double kTensorCore = 2;
// What the activations behind a tensor core are off, relative to their argument: exp2 and 1/x to 2 units, and for GELU a formula of the
// normal distribution within 7.5e-8 (1.3 units).
inline constexpr double kApproximateActivation = 8 * kUnit;
// The weights of a doubled image's phases are sums rounded to the storage once more: a rounding per product, which add up like a random
// walk. 5 of its standard deviations, each 1/sqrt(3) of a unit.
inline constexpr double kPhaseWeights = 3;

// Winograd's F(4x4,3x3) adds and subtracts up to 6 x 6 values, some of them times 8, so its sums round in larger terms than the result's.
// At most 6.8 of the plain sum's limit was seen over random values.
inline constexpr double kWinograd = 16;

}  // namespace sdn::test
