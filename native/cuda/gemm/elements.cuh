// Elements whose dtype is known at run time, and the epilogue of one output.
#pragma once

#include "cuda/activations.h"
#include "cuda/gemm/product.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

SDN_DEVICE float load_element(const void* data, int32_t dtype, int64_t i) {
    if (dtype == SDN_FLOAT16) return to_float(static_cast<const half*>(data)[i]);
    if (dtype == SDN_BFLOAT16) return to_float(static_cast<const bfloat16*>(data)[i]);
    return static_cast<const float*>(data)[i];
}

SDN_DEVICE void store_element(void* data, int32_t dtype, int64_t i, float value) {
    if (dtype == SDN_FLOAT16)
        static_cast<half*>(data)[i] = half_from(value);
    else if (dtype == SDN_BFLOAT16)
        static_cast<bfloat16*>(data)[i] = bfloat16_from(value);
    else
        static_cast<float*>(data)[i] = value;
}

// Column `column` of out (with geglu the one of sums 2 column and 2 column + 1) in row `row` of a phase.
SDN_DEVICE void finish_exact(const Epilogue& e, int64_t row, int phase, int64_t column, float sum, float gate) {
    float y;
    if (e.geglu()) {
        if (e.bias != nullptr) sum += e.bias[2 * column], gate += e.bias[2 * column + 1];
        y = sum * gelu_exact(gate);
    } else {
        if (e.bias != nullptr) sum += e.bias[column];
        if (e.channel_add != nullptr) sum += load_element(e.channel_add, e.dtype, row / e.rows_per_add * e.columns + column);
        y = activate_exact(sum, e.activation);
    }
    const int64_t at = e.out_row(row, phase) * e.columns + column;
    if (e.residual != nullptr) y += load_element(e.residual, e.dtype, at);
    store_element(e.out, e.dtype, at, y);
}

}  // namespace sdn::cuda::SDN_TARGET
