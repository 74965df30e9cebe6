#include "cpu/gemm/epilogue.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

SDN_INLINE vec load_first(const float* p, int64_t n) {
    return n < kLanes ? load_partial(p, n) : load(p);
}
SDN_INLINE void store_first(float* p, vec a, int64_t n) {
    if (n < kLanes)
        store_partial(p, a, n);
    else
        store(p, a);
}

// One vector of columns: out[.., column .. column + n) from sums, where finish(sums, bias) is the activation with the bias added.
template <class Finish>
SDN_INLINE void finish_columns(const Epilogue& e, const float* sums, int64_t stride, int64_t row, int64_t rows, int64_t column, int64_t n,
                               Finish finish) {
    for (int64_t r = 0; r < rows; ++r) {
        const int64_t out_row = e.out_row(row + r);
        const int64_t at = out_row * e.row_floats + column;
        vec add = zero();
        if (e.channel_add) add = load_first(e.channel_add + out_row / e.rows_per_add * e.row_floats + column, n);
        vec y = finish(sums + r * stride, add);
        if (e.residual) y += load_first(e.residual + at, n);
        store_first(e.out + at, y, n);
    }
}

template <class Activation>
SDN_INLINE void finish_panel(const Epilogue& e, const float* sums, int64_t stride, int64_t row, int64_t rows, int64_t panel,
                             Activation activation) {
    for (int64_t j = 0; j < kPanelColumns; j += kLanes) {
        const int64_t column = panel * kPanelColumns + j;
        const int64_t n = min_of(kLanes, e.columns - column);
        if (n <= 0) return;
        const vec bias = e.bias ? load(e.bias + column) : zero();
        finish_columns(e, sums + j, stride, row, rows, column, n,
                       [=](const float* sum, vec add) { return activation(load(sum) + bias + add); });
    }
}

// Vector 0 of the panel holds values, vector 1 their gates.
SDN_INLINE void finish_geglu_panel(const Epilogue& e, const float* sums, int64_t stride, int64_t row, int64_t rows, int64_t panel) {
    const int64_t column = panel * kLanes;
    const int64_t n = min_of(kLanes, e.columns - column);
    const vec value_bias = e.bias ? load(e.bias + panel * kPanelColumns) : zero();
    const vec gate_bias = e.bias ? load(e.bias + panel * kPanelColumns + kLanes) : zero();
    finish_columns(e, sums, stride, row, rows, column, n,
                   [=](const float* sum, vec) { return (load(sum) + value_bias) * gelu(load(sum + kLanes) + gate_bias); });
}

}  // namespace

void Epilogue::apply(const float* sums, int64_t stride, int64_t row, int64_t rows, int64_t panel) const {
    const Epilogue& e = *this;
    switch (activation) {
        case SDN_ACTIVATION_SILU:
            return finish_panel(e, sums, stride, row, rows, panel, [](vec x) { return silu(x); });
        case SDN_ACTIVATION_GELU:
            return finish_panel(e, sums, stride, row, rows, panel, [](vec x) { return gelu(x); });
        case SDN_ACTIVATION_QUICK_GELU:
            return finish_panel(e, sums, stride, row, rows, panel, [](vec x) { return quick_gelu(x); });
        case SDN_ACTIVATION_RELU:
            return finish_panel(e, sums, stride, row, rows, panel, [](vec x) { return relu(x); });
        case SDN_ACTIVATION_TANH:
            return finish_panel(e, sums, stride, row, rows, panel, [](vec x) { return tanh(x); });
        case SDN_ACTIVATION_GEGLU:
            return finish_geglu_panel(e, sums, stride, row, rows, panel);
        default:
            return finish_panel(e, sums, stride, row, rows, panel, [](vec x) { return x; });
    }
}

}  // namespace sdn::cpu::SDN_ISA
