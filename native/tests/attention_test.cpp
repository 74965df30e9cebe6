// sdn_attention against a scalar twin in float64.
#include "tests/sums.h"

namespace sdn::test {

namespace {

struct Case {
    int64_t batch, queries, keys, heads, dim;
    bool causal = false;
    float magnitude = 1;  // of q; the scale is 1/sqrt(dim)
    int64_t gap = 0;      // floats between the rows of each tensor
    int32_t operands = SDN_FLOAT32;

    int64_t width() const { return heads * dim; }
    float scale() const { return 1 / std::sqrt(static_cast<float>(dim)); }
    std::string text() const {
        return "batch, queries, keys, heads, dim " + text_of({batch, queries, keys, heads, dim}) + ", causal " + std::to_string(causal) +
               ", magnitude " + std::to_string(magnitude) + ", gap " + std::to_string(gap);
    }
};

// Inputs and expectation of one case. Every array has rows of width + gap floats.
struct Layer {
    Case c;
    Array q, k, v;

    explicit Layer(const Case& c_)
        : c(c_),
          q(Array::random({c.batch, c.queries, c.width() + c.gap}, 1, -c.magnitude, c.magnitude, kMisaligned)),
          k(Array::random({c.batch, c.keys, c.width() + c.gap}, 2, -1, 1, kMisaligned)),
          v(Array::random({c.batch, c.keys, c.width() + c.gap}, 3, -1, 1, kMisaligned)) {
        round_to(k, c.operands), round_to(v, c.operands);
    }

    Array run(sdn_device* device) const {
        Array out(q.shape(), SDN_FLOAT32, kMisaligned);
        out.fill(7);
        const auto view = [&](const Array& rows) {
            sdn_tensor t = rows.view();
            t.shape[2] = c.width();
            return t;
        };
        const sdn_tensor to = view(out), tq = view(q), tk = view(k), tv = view(v);
        const sdn_attention_params params{static_cast<int32_t>(c.heads), c.causal ? 1 : 0, c.scale(), c.operands};
        measure_and_run(device, [&](sdn_exec* exec) { ok(sdn_attention(exec, &to, &tq, &tk, &tv, &params)); });
        return out;
    }

    const float* row(const Array& array, int64_t batch, int64_t i, int64_t head) const {
        return array.floats() + (batch * array.shape()[1] + i) * array.shape()[2] + head * c.dim;
    }

    // Row i of a head: the expectation of its dim outputs.
    void expect_row(bool halves, int64_t b, int64_t i, int64_t h, Expected* expected) const {
        const int64_t visible = c.causal ? i + 1 : c.keys;
        // Of the scaled query and of each weight, independently; keys and values are rounded already.
        const double rounding = halves ? kFloat16Unit : c.operands == SDN_BFLOAT16 ? kBFloat16Unit : 0;
        std::vector<double> weight;
        double highest = -INFINITY, total = 0, score_error = 0;
        for (int64_t j = 0; j < visible; ++j) {
            Sum sum;
            double squares = 0;
            for (int64_t d = 0; d < c.dim; ++d) {
                const double x = static_cast<double>(row(q, b, i, h)[d]), y = static_cast<double>(row(k, b, j, h)[d]);
                sum.add(x, y);
                squares += x * x * y * y;
            }
            const double scale = static_cast<double>(c.scale()), score = sum.value() * scale;
            weight.push_back(score);
            highest = std::fmax(highest, score);
            // Of the sum, of scaling the query, and of taking the maximum away.
            score_error = std::fmax(score_error, (halves ? sum.limit_in_halves(16) : sum.limit()) * scale + 4 * kUnit * std::fabs(score) +
                                                     4 * rounding * std::sqrt(squares) * scale);
        }
        for (double& w : weight) total += w = std::exp(w - highest);
        // An error e of the scores changes a weight by at most a factor exp(2e); the sums over keys round as any sum does.
        const double relative = 2 * score_error + kActivationRelative + 4 * kUnit * std::sqrt(static_cast<double>(visible)) + rounding;
        for (int64_t d = 0; d < c.dim; ++d) {
            double value = 0, magnitude = 0, largest = 0;
            Sum sum;  // of halves
            for (int64_t j = 0; j < visible; ++j) {
                const double term = weight[static_cast<size_t>(j)] / total * static_cast<double>(row(v, b, j, h)[d]);
                value += term;
                magnitude += std::fabs(term);
                largest = std::fmax(largest, std::fabs(static_cast<double>(row(v, b, j, h)[d])));
                sum.add(term);
            }
            expected[d] = {value, relative * magnitude};
            // A weight of the softmax below 2^-14 is rounded to a multiple of 2^-24.
            if (halves) expected[d].limit += sum.limit_in_halves() + std::sqrt(static_cast<double>(visible)) * 0x1p-24 * largest;
        }
    }

    std::vector<Expected> expected(bool halves = false) const {
        std::vector<Expected> result(static_cast<size_t>(q.size()), Expected{7, 0});  // the gaps stay as they were
        for (int64_t b = 0; b < c.batch; ++b)
            for (int64_t i = 0; i < c.queries; ++i)
                for (int64_t h = 0; h < c.heads; ++h) expect_row(halves, b, i, h, result.data() + (row(q, b, i, h) - q.floats()));
        return result;
    }
};

}  // namespace

class Attention : public EachDevice {
  protected:
    void expect_twin(const Case& c) {
        const Device device(GetParam(), 2, c.operands == SDN_FLOAT32 ? SDN_PRECISION_REFERENCE : SDN_PRECISION_FAST);
        const Layer layer(c);
        EXPECT_TRUE(within_limits(layer.run(device), layer.expected(multiplies_halves(device, c.operands)))) << c.text();
    }
};
SDN_FOR_EACH_DEVICE(Attention);

TEST_P(Attention, EveryHeadDim_EqualsTheTwin) {
    for (const int64_t dim : {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 64, 80, 96, 160, 300, 384, 385, 512})
        expect_twin({1, 19, 37, 2, dim});
}

TEST_P(Attention, OddLengths_EqualTheTwin) {
    for (const int64_t queries : {1, 2, 13, 15, 113, 230})
        for (const int64_t keys : {1, 2, 15, 17, 31, 33, 77, 383, 385, 800}) expect_twin({2, queries, keys, 1, 10});
}

TEST_P(Attention, Causal_EqualsTheTwin) {
    for (const int64_t length : {1, 2, 13, 16, 33, 77, 120, 385, 500}) expect_twin({2, length, length, 2, 24, true});
}

TEST_P(Attention, RowStrides_EqualTheTwinAndKeepTheGaps) {
    expect_twin({2, 50, 50, 3, 40, false, 1, 240});
    expect_twin({1, 50, 77, 5, 8, false, 1, 3});
    expect_twin({3, 41, 41, 2, 19, true, 1, 77});
}

TEST_P(Attention, LargeScores_EqualTheTwin) {
    expect_twin({1, 40, 900, 2, 16, false, 30});
    expect_twin({1, 40, 900, 1, 64, false, 200});
    expect_twin({1, 400, 400, 1, 16, true, 500});
}

// What a fast device may multiply in pairs or halves: odd numbers of channels and keys leave half a pair.
TEST_P(Attention, SixteenBits_EqualTheTwin) {
    for (const int32_t operands : fast_storages(on_cpu())) {
        for (const int64_t dim : {1, 2, 7, 16, 33, 40, 160, 511, 512}) expect_twin({1, 29, 37, 2, dim, false, 1, 0, operands});
        expect_twin({1, 40, 900, 1, 64, false, 60, 0, operands});
        for (const int64_t keys : {1, 2, 31, 77, 383, 385, 801}) expect_twin({2, 33, keys, 1, 10, false, 4, 3, operands});
        for (const int64_t length : {1, 2, 17, 120, 385}) expect_twin({1, length, length, 2, 24, true, 1, 0, operands});
    }
}

// Maxima that grow from block to block, so that what was summed has to be scaled again and again.
TEST_P(Attention, GrowingScores_EqualTheTwin) {
    const Device device(GetParam());
    const Layer layer({1, 30, 2000, 1, 8});
    for (int64_t i = 0; i < layer.k.size(); ++i) layer.k[i] *= 0.01f * static_cast<float>(i / 8);
    EXPECT_TRUE(within_limits(layer.run(device), layer.expected()));
}

TEST_P(Attention, NotANumberInOneQuery_StaysInItsRow) {
    const Device device(GetParam());
    const Layer layer({1, 20, 50, 1, 16});
    layer.q[3 * 16 + 5] = NAN;
    const Array out = layer.run(device);
    for (int64_t i = 0; i < 20 * 16; ++i) EXPECT_EQ(std::isnan(out[i]), i / 16 == 3) << i;
}

TEST_P(Attention, AnyThreadCount_SameBits) {
    for (const Case& c : {Case{2, 300, 500, 3, 40}, Case{1, 260, 260, 2, 64, true}, Case{1, 150, 400, 1, 512},
                          Case{1, 150, 400, 3, 40, false, 1, 0, SDN_FLOAT16}, Case{1, 260, 260, 2, 64, true, 1, 0, SDN_FLOAT16}}) {
        const Layer layer(c);
        same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device); }, 1 << 24,
                             c.operands == SDN_FLOAT32 ? SDN_PRECISION_REFERENCE : SDN_PRECISION_FAST);
    }
}

}  // namespace sdn::test
