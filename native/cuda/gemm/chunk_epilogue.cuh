// The epilogue of 8 neighbouring sums of a row, for 16-bit outputs: activations are approximations a few float32 units off, far below the
// rounding of the result.
#pragma once

#include "cuda/activations.h"
#include "cuda/gemm/product.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

constexpr int kChunk = 8;  // 16 bytes of a 16-bit type

// sums[i] += data[at + i] for the first `count`.
template <class T, int N>
SDN_DEVICE void add_chunk(float (&sums)[kChunk], const T* data, int64_t at, int count, bool vectors) {
    if (vectors) {
        const Vec<T, N> values = load_vec<N>(data + at);
        SDN_UNROLL
        for (int i = 0; i < N; ++i) sums[i] += to_float(values[i]);
    } else {
        SDN_UNROLL
        for (int i = 0; i < N; ++i)
            if (i < count) sums[i] += to_float(data[at + i]);
    }
}

template <class T, int N>
SDN_DEVICE void store_chunk(T* data, int64_t at, const float (&values)[kChunk], int count, bool vectors) {
    if (vectors) {
        Vec<T, N> rounded;
        SDN_UNROLL
        for (int i = 0; i < N; ++i) rounded[i] = from_float<T>(values[i]);
        store_vec<N>(data + at, rounded);
    } else {
        SDN_UNROLL
        for (int i = 0; i < N; ++i)
            if (i < count) data[at + i] = from_float<T>(values[i]);
    }
}

// Sums of columns column .. column + 8 of the weight's rows (those below columns_end) in row `row` of a phase.
template <class T>
SDN_DEVICE void finish_chunk(const Epilogue& e, int64_t row, int phase, int64_t column, int64_t columns_end, float (&sums)[kChunk]) {
    const int count = static_cast<int>(min_of<int64_t>(kChunk, columns_end - column));
    if (e.bias != nullptr) {
        if (e.vectors) {
            const Vec<float, 4> low = load_vec<4>(e.bias + column), high = load_vec<4>(e.bias + column + 4);
            SDN_UNROLL
            for (int i = 0; i < 4; ++i) sums[i] += low[i], sums[i + 4] += high[i];
        } else {
            SDN_UNROLL
            for (int i = 0; i < kChunk; ++i)
                if (i < count) sums[i] += e.bias[column + i];
        }
    }
    T* const out = static_cast<T*>(e.out);
    const T* const residual = static_cast<const T*>(e.residual);
    const int64_t out_row = e.out_row(row, phase) * e.columns;
    if (e.geglu()) {
        SDN_UNROLL
        for (int i = 0; i < kChunk / 2; ++i) sums[i] = sums[2 * i] * gelu_approx(sums[2 * i + 1]);
        if (residual != nullptr) add_chunk<T, kChunk / 2>(sums, residual, out_row + column / 2, count / 2, e.vectors);
        store_chunk<T, kChunk / 2>(out, out_row + column / 2, sums, count / 2, e.vectors);
        return;
    }
    if (e.channel_add != nullptr) {
        const int64_t at = static_cast<int32_t>(row) / e.rows_per_add * e.columns + column;
        add_chunk<T, kChunk>(sums, static_cast<const T*>(e.channel_add), at, count, e.vectors);
    }
    if (e.activation != SDN_ACTIVATION_NONE) {
        SDN_UNROLL
        for (int i = 0; i < kChunk; ++i) sums[i] = activate_approx(sums[i], e.activation);
    }
    if (residual != nullptr) add_chunk<T, kChunk>(sums, residual, out_row + column, count, e.vectors);
    store_chunk<T, kChunk>(out, out_row + column, sums, count, e.vectors);
}

}  // namespace sdn::cuda::SDN_TARGET
