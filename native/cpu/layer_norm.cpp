// Computes:  out = (x - mean) / sqrt(var + eps) * scale + shift over the last dimension, biased variance.
// Shapes:    x, out [..., C] dense.
// Algorithm: per row two passes in float32 over 16 partial sums, then one to write; the row stays in the cache.
#include <cmath>

#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kPieceElements = 16384;
constexpr int kSums = 16;  // partial sums: what lets the compiler use vectors without reordering a sum

struct Work {
    const float* x;
    float* out;
    const NormWeight& weight;
    int64_t rows, rows_per_piece;
    float eps;
};

// The sum over i of term(x[i]), by 16 interleaved sums that are added in float64.
template <class Term>
double sum_of(const float* x, int64_t count, Term term) {
    float sums[kSums] = {};
    int64_t i = 0;
    for (; i + kSums <= count; i += kSums)
        for (int j = 0; j < kSums; ++j) sums[j] += term(x[i + j]);
    double total = 0;
    for (; i < count; ++i) total += static_cast<double>(term(x[i]));
    for (int j = 0; j < kSums; ++j) total += static_cast<double>(sums[j]);
    return total;
}

void normalize_row(const Work& w, const float* x, float* out) {
    const int64_t channels = w.weight.channels;
    const double mean = sum_of(x, channels, [](float v) { return v; }) / static_cast<double>(channels);
    const float m = static_cast<float>(mean);
    const double squares = sum_of(x, channels, [m](float v) { return (v - m) * (v - m); });
    const float r = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(channels) + static_cast<double>(w.eps)));
    for (int64_t c = 0; c < channels; ++c) out[c] = (x[c] - m) * r * w.weight.scale[c] + w.weight.shift[c];
}

void run_piece(void* context, int64_t index, int) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t begin = index * w.rows_per_piece, limit = begin + w.rows_per_piece;
    for (int64_t row = begin; row < w.rows && row < limit; ++row)
        normalize_row(w, w.x + row * w.weight.channels, w.out + row * w.weight.channels);
}

}  // namespace

void layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const NormWeight& weight, float eps) {
    if (exec_measuring(exec)) return;
    Work work{static_cast<const float*>(x.data), static_cast<float*>(out.data), weight, 1, 1, eps};
    for (int i = 0; i + 1 < x.rank; ++i) work.rows *= x.shape[i];
    if (weight.channels < kPieceElements) work.rows_per_piece = kPieceElements / weight.channels;
    exec_parallel_for(exec, (work.rows + work.rows_per_piece - 1) / work.rows_per_piece, run_piece, &work);
}

}  // namespace sdn::cpu::SDN_ISA
