// Computes:  out = act((x - mean) / sqrt(var + eps) * scale + shift), mean and biased variance per sample and group of channels.
// Shapes:    x [B,...,C1], x2 [B,...,C2] or none, out [B,...,C1+C2], all dense; the groups run over C1+C2.
// Algorithm: rows are cut into pieces that fit the cache. Per piece two passes give each group's mean and sum of squared deviations; the
//            pieces are combined in order in float64 (Chan et al.), so the result does not depend on threads; one more pass writes out.
#include <cmath>

#include "cpu/ops.inl.h"
#include "cpu/simd/math.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kPieceElements = 32768;
constexpr int64_t kPieceRows = 256;  // as many float32 numbers are summed in float32

struct Moments {
    double mean, squares;  // sum of squared deviations from the mean
};

struct Source {
    const float* x;
    int64_t channels;
};

struct Work {
    const NormWeight& weight;
    Source sources[2] = {};
    float* out = nullptr;
    int64_t batch = 1, rows = 1, channels = 1, groups = 1;
    int64_t rows_per_piece = 1, pieces = 1;  // per sample
    float eps = 0;
    bool silu = false;
    Moments* moments = nullptr;  // [B, pieces, groups]
    float* terms = nullptr;      // [B, 3, C]: mean, factor, addend
    float* sums = nullptr;       // [threads, 2, C]: per channel sums and means
};

struct Piece {
    int64_t sample, first_row, row_count;
};

Piece locate(const Work& w, int64_t index) {
    const int64_t first = index % w.pieces * w.rows_per_piece;
    return {index / w.pieces, first, w.rows - first < w.rows_per_piece ? w.rows - first : w.rows_per_piece};
}

// sums[c] = sum over the rows of term(x[row, c], c): four rows at a time, so that a sum is loaded and stored once for four terms.
template <class Term>
SDN_INLINE void sum_rows(const float* x, int64_t rows, int64_t channels, float* sums, Term term) {
    for (int64_t c = 0; c < channels; ++c) sums[c] = 0;
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4, x += 4 * channels)
        for (int64_t c = 0; c < channels; ++c)
            sums[c] += (term(x[c], c) + term(x[c + channels], c)) + (term(x[c + 2 * channels], c) + term(x[c + 3 * channels], c));
    for (; row < rows; ++row, x += channels)
        for (int64_t c = 0; c < channels; ++c) sums[c] += term(x[c], c);
}

void measure_piece(void* context, int64_t index, int thread) {
    const Work& w = *static_cast<const Work*>(context);
    const Piece piece = locate(w, index);
    float* sums = w.sums + thread * 2 * w.channels;
    float* means = sums + w.channels;
    Moments* moments = w.moments + index * w.groups;
    const int64_t size = w.channels / w.groups;
    const double count = static_cast<double>(size * piece.row_count);

    int64_t first_channel = 0;
    for (const Source& s : w.sources) {
        const float* x = s.x + (piece.sample * w.rows + piece.first_row) * s.channels;
        sum_rows(x, piece.row_count, s.channels, sums + first_channel, [](float value, int64_t) { return value; });
        first_channel += s.channels;
    }
    for (int64_t g = 0; g < w.groups; ++g) {
        double sum = 0;
        for (int64_t c = g * size; c < (g + 1) * size; ++c) sum += static_cast<double>(sums[c]);
        // Deviations are taken from the mean as a float32 number, so that is what must be kept.
        const float mean = static_cast<float>(sum / count);
        moments[g].mean = sum / count;
        for (int64_t c = g * size; c < (g + 1) * size; ++c) means[c] = mean;
    }
    first_channel = 0;
    for (const Source& s : w.sources) {
        const float* x = s.x + (piece.sample * w.rows + piece.first_row) * s.channels;
        const float* mean = means + first_channel;
        sum_rows(x, piece.row_count, s.channels, sums + first_channel,
                 [mean](float value, int64_t c) { return (value - mean[c]) * (value - mean[c]); });
        first_channel += s.channels;
    }
    for (int64_t g = 0; g < w.groups; ++g) {
        double squares = 0;
        for (int64_t c = g * size; c < (g + 1) * size; ++c) squares += static_cast<double>(sums[c]);
        const double shift = moments[g].mean - static_cast<double>(means[g * size]);
        moments[g].squares = squares - count * shift * shift;
    }
}

// Combines the pieces' moments of one sample and turns them into y = (x - mean) * factor + addend. x * factor + addend would be one
// operation less, but where the deviation is small it is the difference of two large numbers.
void combine_sample(void* context, int64_t sample, int) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t size = w.channels / w.groups;
    float* means = w.terms + sample * 3 * w.channels;
    float* factors = means + w.channels;
    float* addends = factors + w.channels;
    for (int64_t g = 0; g < w.groups; ++g) {
        double count = 0;
        Moments total{0, 0};
        for (int64_t p = 0; p < w.pieces; ++p) {
            const Moments& piece = w.moments[(sample * w.pieces + p) * w.groups + g];
            const double n = static_cast<double>(size * locate(w, p).row_count), delta = piece.mean - total.mean;
            total.squares += piece.squares + delta * delta * count * n / (count + n);
            total.mean += delta * n / (count + n);
            count += n;
        }
        const double variance = total.squares > 0 || total.squares != total.squares ? total.squares / count : 0;
        const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(w.eps));
        const float mean = static_cast<float>(total.mean);
        for (int64_t c = g * size; c < (g + 1) * size; ++c) {
            const double factor = inverse * static_cast<double>(w.weight.scale[c]);
            means[c] = mean;
            factors[c] = static_cast<float>(factor);
            addends[c] = static_cast<float>(static_cast<double>(w.weight.shift[c]) - (total.mean - static_cast<double>(mean)) * factor);
        }
    }
}

// One row of one source: out = act((x - mean) * factor + addend), channel by channel.
template <class Activation>
SDN_INLINE void apply_row(const float* x, const float* mean, const float* factor, const float* addend, float* out, int64_t channels,
                          Activation activation) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes)
        store(out + c, activation(fma(load(x + c) - load(mean + c), load(factor + c), load(addend + c))));
    const int64_t n = channels - c;
    if (n == 0) return;
    const vec deviation = load_partial(x + c, n) - load_partial(mean + c, n);
    store_partial(out + c, activation(fma(deviation, load_partial(factor + c, n), load_partial(addend + c, n))), n);
}

void apply_piece(void* context, int64_t index, int) {
    const Work& w = *static_cast<const Work*>(context);
    const Piece piece = locate(w, index);
    int64_t first_channel = 0;
    for (const Source& s : w.sources) {
        const float* x = s.x + (piece.sample * w.rows + piece.first_row) * s.channels;
        float* out = w.out + (piece.sample * w.rows + piece.first_row) * w.channels + first_channel;
        const float* mean = w.terms + piece.sample * 3 * w.channels + first_channel;
        const float* factor = mean + w.channels;
        const float* addend = factor + w.channels;
        for (int64_t row = 0; row < piece.row_count; ++row, x += s.channels, out += w.channels) {
            if (w.silu)
                apply_row(x, mean, factor, addend, out, s.channels, [](vec y) { return silu(y); });
            else
                apply_row(x, mean, factor, addend, out, s.channels, [](vec y) { return y; });
        }
        first_channel += s.channels;
    }
}

}  // namespace

void group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const NormWeight& weight, int32_t groups,
                float eps, int32_t activation) {
    Work w{weight};
    w.out = static_cast<float*>(out.data);
    w.batch = x.shape[0];
    w.channels = weight.channels;
    w.groups = groups;
    w.eps = eps;
    w.silu = activation == SDN_ACTIVATION_SILU;
    w.sources[0] = {static_cast<const float*>(x.data), x.shape[x.rank - 1]};
    w.sources[1] = {x2 != nullptr ? static_cast<const float*>(x2->data) : w.sources[0].x, x2 != nullptr ? x2->shape[x2->rank - 1] : 0};
    for (int i = 1; i + 1 < x.rank; ++i) w.rows *= x.shape[i];
    w.rows_per_piece = w.channels < kPieceElements ? kPieceElements / w.channels : 1;
    if (w.rows_per_piece > kPieceRows) w.rows_per_piece = kPieceRows;
    w.pieces = (w.rows + w.rows_per_piece - 1) / w.rows_per_piece;

    w.moments = static_cast<Moments*>(exec_scratch(exec, w.batch * w.pieces * groups * static_cast<int64_t>(sizeof(Moments))));
    w.terms = static_cast<float*>(exec_scratch(exec, w.batch * 3 * w.channels * 4));
    w.sums = static_cast<float*>(exec_scratch(exec, exec_threads(exec) * 2 * w.channels * 4));
    if (!exec_measuring(exec)) {
        exec_parallel_for(exec, w.batch * w.pieces, measure_piece, &w);
        exec_parallel_for(exec, w.batch, combine_sample, &w);
        exec_parallel_for(exec, w.batch * w.pieces, apply_piece, &w);
    }
    exec_release(exec, w.sums);
    exec_release(exec, w.terms);
    exec_release(exec, w.moments);
}

}  // namespace sdn::cpu::SDN_ISA
