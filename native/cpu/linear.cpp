// Computes:  out[m,n] = activation(sum_k [x | x2][m,k] * w[n,k] + bias[n]) + residual[m,n].
// Algorithm: for each block of rows and each panel of outputs, plain sums.
#include "cpu/gemm/plain.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kRowBlock = 8;

struct Work {
    const float *x, *x2, *residual;
    float* out;
    const PackedMatrix& weight;
    int64_t rows, k1, k2, outputs;
    int32_t activation;
};

void run_block(void* context, int64_t index, int) {
    const Work& w = *static_cast<const Work*>(context);
    const bool geglu = w.weight.geglu;
    const int64_t panel = index % w.weight.panel_count, block = index / w.weight.panel_count;
    const int64_t width = geglu ? 8 : 16, n0 = panel * width, n_count = w.outputs - n0 < width ? w.outputs - n0 : width;
    for (int64_t m = block * kRowBlock; m < w.rows && m < (block + 1) * kRowBlock; ++m) {
        float sums[16] = {};
        multiply_panel(w.weight, panel, 0, w.x + m * w.k1, w.k1, sums);
        if (w.k2 > 0) multiply_panel(w.weight, panel, w.k1, w.x2 + m * w.k2, w.k2, sums);
        if (w.weight.bias != nullptr)
            for (int j = 0; j < 16; ++j) sums[j] += w.weight.bias[panel * 16 + j];
        for (int64_t j = 0; j < n_count; ++j) {
            const float y = geglu ? sums[j] * gelu(sums[8 + j]) : activate(sums[j], w.activation);
            const int64_t at = m * w.outputs + n0 + j;
            w.out[at] = y + (w.residual != nullptr ? w.residual[at] : 0.0f);
        }
    }
}

}  // namespace

void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const PackedMatrix& weight,
            const sdn_tensor* residual, int32_t activation) {
    if (exec_measuring(exec)) return;
    Work w{static_cast<const float*>(x.data),
           x2 != nullptr ? static_cast<const float*>(x2->data) : nullptr,
           residual != nullptr ? static_cast<const float*>(residual->data) : nullptr,
           static_cast<float*>(out.data),
           weight,
           1,
           x.shape[x.rank - 1],
           x2 != nullptr ? x2->shape[x2->rank - 1] : 0,
           out.shape[out.rank - 1],
           activation};
    for (int i = 0; i + 1 < x.rank; ++i) w.rows *= x.shape[i];
    exec_parallel_for(exec, (w.rows + kRowBlock - 1) / kRowBlock * weight.panel_count, run_block, &w);
}

}  // namespace sdn::cpu::SDN_ISA
