// dynamic_threshold and rescale_guidance: statistics per sample, then one elementwise pass.
// Shapes: x [B,...], dense float32. Algorithm: quantile by selection; standard deviation by two passes in float64 over fixed pieces.
#include <algorithm>
#include <cmath>

#include "cpu/baseline.h"

namespace sdn::cpu {

namespace {

int64_t sample_size(const sdn_tensor& tensor) {
    int64_t count = 1;
    for (int i = 1; i < tensor.rank; ++i) count *= tensor.shape[i];
    return count;
}

// torch.quantile(|x|, ratio) with linear interpolation, in float32 as torch does it. `magnitudes` is room for count floats.
float quantile_of_magnitudes(const float* x, int64_t count, float ratio, float* magnitudes) {
    for (int64_t i = 0; i < count; ++i) {
        magnitudes[i] = std::fabs(x[i]);
        if (std::isnan(x[i])) return x[i];
    }
    const float rank = ratio * static_cast<float>(count - 1);
    const int64_t below = std::min(static_cast<int64_t>(rank), count - 1);
    const int64_t above = std::min(static_cast<int64_t>(std::ceil(rank)), count - 1);
    const float weight = rank - static_cast<float>(below);
    std::nth_element(magnitudes, magnitudes + below, magnitudes + count);
    const float low = magnitudes[below];
    const float high = above > below ? *std::min_element(magnitudes + below + 1, magnitudes + count) : low;
    return weight < 0.5f ? low + weight * (high - low) : high - (high - low) * (1.0f - weight);
}

// The sum of term(i) over [0, count), in an order that does not depend on threads.
template <class Term>
double sum_in_pieces(Exec& exec, int64_t count, double* partial, Term&& term) {
    const int64_t pieces = (count + kElementPiece - 1) / kElementPiece;
    parallel_for_pieces(exec, count, kElementPiece, [&](int64_t begin, int64_t end) {
        double sum = 0;
        for (int64_t i = begin; i < end; ++i) sum += term(i);
        partial[begin / kElementPiece] = sum;
    });
    double sum = 0;
    for (int64_t i = 0; i < pieces; ++i) sum += partial[i];
    return sum;
}

double standard_deviation(Exec& exec, const float* x, int64_t count, double* partial) {
    const double mean =
        sum_in_pieces(exec, count, partial, [&](int64_t i) { return static_cast<double>(x[i]); }) / static_cast<double>(count);
    const double squares = sum_in_pieces(exec, count, partial, [&](int64_t i) {
        const double d = static_cast<double>(x[i]) - mean;
        return d * d;
    });
    return std::sqrt(squares / static_cast<double>(count - 1));
}

}  // namespace

void dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value) {
    const int64_t samples = x.shape[0], count = sample_size(x);
    float* magnitudes = static_cast<float*>(exec.scratch_alloc(samples * count * 4));
    if (!exec.measuring()) {
        const float* s = static_cast<const float*>(x.data);
        float* o = static_cast<float*>(out.data);
        parallel_for(exec, samples, [&](int64_t b, int) {
            const float quantile = quantile_of_magnitudes(s + b * count, count, ratio, magnitudes + b * count);
            // std::max and min keep their first argument where the second is NaN, so: NaN stays NaN.
            const float limit = std::min(std::max(quantile, 1.0f), max_value);
            for (int64_t i = b * count; i < (b + 1) * count; ++i) o[i] = std::min(std::max(s[i], -limit), limit) / limit;
        });
    }
    exec.scratch_free(magnitudes);
}

void rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor) {
    const int64_t samples = guided.shape[0], count = sample_size(guided);
    double* partial = static_cast<double*>(exec.scratch_alloc((count + kElementPiece - 1) / kElementPiece * 8));
    if (!exec.measuring()) {
        for (int64_t b = 0; b < samples; ++b) {
            const float* g = static_cast<const float*>(guided.data) + b * count;
            const float* c = static_cast<const float*>(cond.data) + b * count;
            float* o = static_cast<float*>(out.data) + b * count;
            const float ratio =
                static_cast<float>(standard_deviation(exec, c, count, partial) / standard_deviation(exec, g, count, partial));
            parallel_for_pieces(exec, count, kElementPiece, [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) o[i] = factor * (g[i] * ratio) + (1.0f - factor) * g[i];
            });
        }
    }
    exec.scratch_free(partial);
}

}  // namespace sdn::cpu
