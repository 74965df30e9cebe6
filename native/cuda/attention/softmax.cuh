// The online softmax of the flash kernels, on fragments of mma.m16n8k16: a thread holds of each 16 rows the rows g and g + 8 (g = lane /
// 4), of each 8 columns two neighbours; the four threads of a row stand side by side.
#pragma once

#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

// The maximum over the four threads of a row.
SDN_DEVICE float row_max(float value) {
    value = fmaxf(value, shuffle_xor(value, 1));
    return fmaxf(value, shuffle_xor(value, 2));
}
SDN_DEVICE float row_sum(float value) {
    value += shuffle_xor(value, 1);
    return value + shuffle_xor(value, 2);
}

struct RowState {
    float maximum = -INFINITY;  // that the sums stand for
    float total = 0;            // of the weights, over this thread's columns

    // Whether `highest` asks for another maximum. True for the first scores; a NaN in them shows in the weights.
    SDN_DEVICE bool outgrown(float highest, float slack) const { return !(highest <= maximum + slack); }

    // Moves on to `highest` if it must, and returns the factor of everything summed so far.
    SDN_DEVICE float rescale(float highest, float slack, float scale_log2) {
        if (!outgrown(highest, slack)) return 1.0f;
        const float factor = maximum == -INFINITY ? 0.0f : exp2_approx((maximum - highest) * scale_log2);
        maximum = highest;
        total *= factor;
        return factor;
    }
};

// scores of 16 rows become weights 2^(scale_log2 * (score - maximum)), and are added to the totals.
template <int kTiles>
SDN_DEVICE void exponentiate(float (&scores)[kTiles][4], RowState (&rows)[2], float scale_log2) {
    SDN_UNROLL
    for (int half_row = 0; half_row < 2; ++half_row) {
        const float offset = -rows[half_row].maximum * scale_log2;
        float total = 0;
        SDN_UNROLL
        for (int n = 0; n < kTiles; ++n) {
            SDN_UNROLL
            for (int i = 2 * half_row; i < 2 * half_row + 2; ++i) {
                scores[n][i] = exp2_approx(fmaf(scores[n][i], scale_log2, offset));
                total += scores[n][i];
            }
        }
        rows[half_row].total += total;
    }
}

// The highest score of each of a thread's two rows, over all threads of the row.
template <int kTiles>
SDN_DEVICE void highest_scores(const float (&scores)[kTiles][4], float (&highest)[2]) {
    SDN_UNROLL
    for (int half_row = 0; half_row < 2; ++half_row) {
        float value = scores[0][2 * half_row];
        SDN_UNROLL
        for (int n = 0; n < kTiles; ++n) value = fmaxf(value, fmaxf(scores[n][2 * half_row], scores[n][2 * half_row + 1]));
        highest[half_row] = row_max(value);
    }
}

// Hides the keys from `limit` on in row g and from `limit_8_rows_on` on in row g + 8; the scores' first column is key `first`.
template <int kTiles>
SDN_DEVICE void hide_keys(float (&scores)[kTiles][4], int first, int limit, int limit_8_rows_on) {
    const int column = first + opaque(lane_index()) % 4 * 2;
    SDN_UNROLL
    for (int n = 0; n < kTiles; ++n) {
        SDN_UNROLL
        for (int i = 0; i < 2; ++i) {
            if (column + n * 8 + i >= limit) scores[n][i] = -INFINITY;
            if (column + n * 8 + i >= limit_8_rows_on) scores[n][2 + i] = -INFINITY;
        }
    }
}

// The weights of 16 rows and 16 keys as an operand a.
template <class T>
SDN_DEVICE void weights_operand(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
    a[0] = pack2<T>(left[0], left[1]);
    a[1] = pack2<T>(left[2], left[3]);
    a[2] = pack2<T>(right[0], right[1]);
    a[3] = pack2<T>(right[2], right[3]);
}

}  // namespace sdn::cuda::SDN_TARGET
