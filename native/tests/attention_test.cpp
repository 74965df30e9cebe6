// sdn_attention against a scalar twin in float64.
#include "matrix_testing.h"

using namespace matrix_testing;

namespace {

struct Case {
    int64_t batch, queries, keys, heads, dim;
    bool causal = false;
    float magnitude = 1.0f;  // of q; the scale is 1/sqrt(dim)
    int64_t gap = 0;         // floats between the rows of each tensor

    std::string text() const {
        return "batch " + std::to_string(batch) + ", queries " + std::to_string(queries) + ", keys " + std::to_string(keys) + ", heads " +
               std::to_string(heads) + ", dim " + std::to_string(dim) + ", causal " + std::to_string(causal) + ", magnitude " +
               std::to_string(magnitude) + ", gap " + std::to_string(gap);
    }
    int64_t width() const { return heads * dim; }
    float scale() const { return 1.0f / std::sqrt(static_cast<float>(dim)); }
};

struct AttentionRun {
    Case c;
    Misaligned q, k, v, out;

    explicit AttentionRun(const Case& c_) : c(c_) {
        q = random_values(c.batch * c.queries * (c.width() + c.gap), 1);
        k = random_values(c.batch * c.keys * (c.width() + c.gap), 2);
        v = random_values(c.batch * c.keys * (c.width() + c.gap), 3);
        for (int64_t i = 0; i < q.size(); ++i) q[i] *= c.magnitude;
    }

    sdn_tensor view(Misaligned& data, int64_t length) const {
        sdn_tensor t = tensor(data.data(), {c.batch, length, c.width()});
        t.stride[1] = c.width() + c.gap;
        t.stride[0] = length * t.stride[1];
        return t;
    }

    void run(sdn_device* device) {
        out = Misaligned(q.size(), 7.0f);
        const sdn_tensor to = view(out, c.queries), tq = view(q, c.queries), tk = view(k, c.keys), tv = view(v, c.keys);
        const sdn_attention_params params{static_cast<int32_t>(c.heads), c.causal ? 1 : 0, c.scale(), 0};
        measure_and_run(device, [&](sdn_exec* exec) { return sdn_attention(exec, &to, &tq, &tk, &tv, &params); });
    }

    int64_t at(int64_t batch, int64_t row, int64_t rows, int64_t head) const {
        return (batch * rows + row) * (c.width() + c.gap) + head * c.dim;
    }

    // Row i of a head: the expectation of its dim outputs.
    void expect_row(int64_t b, int64_t i, int64_t h, std::vector<Expected>& expected) {
        const int64_t visible = c.causal ? i + 1 : c.keys;
        std::vector<double> weight;
        double highest = -INFINITY, total = 0, score_error = 0;
        for (int64_t j = 0; j < visible; ++j) {
            Sum sum;
            for (int64_t d = 0; d < c.dim; ++d) {
                sum.add(static_cast<double>(q[at(b, i, c.queries, h) + d]) * static_cast<double>(k[at(b, j, c.keys, h) + d]));
            }
            const double score = sum.value() * static_cast<double>(c.scale());
            weight.push_back(score);
            highest = std::fmax(highest, score);
            // Of the sum, of scaling the query, and of taking the maximum away.
            score_error = std::fmax(score_error, sum.limit() * static_cast<double>(c.scale()) + 4 * kUnitRoundoff * std::fabs(score));
        }
        for (double& w : weight) total += w = std::exp(w - highest);
        // An error e of every score changes the weights by at most a factor exp(2e); the sums over keys round as any sum does.
        const double relative = 2 * score_error + 4 * kUnitRoundoff * (4 + std::sqrt(static_cast<double>(visible)));
        for (int64_t d = 0; d < c.dim; ++d) {
            double value = 0, magnitude = 0;
            for (int64_t j = 0; j < visible; ++j) {
                const double term = weight[static_cast<size_t>(j)] / total * static_cast<double>(v[at(b, j, c.keys, h) + d]);
                value += term;
                magnitude += std::fabs(term);
            }
            expected[static_cast<size_t>(at(b, i, c.queries, h) + d)] = {value, relative * magnitude};
        }
    }

    std::vector<Expected> expected() {
        std::vector<Expected> result(static_cast<size_t>(out.size()), Expected{7.0, 0.0});  // the gaps stay as they were
        for (int64_t b = 0; b < c.batch; ++b)
            for (int64_t i = 0; i < c.queries; ++i)
                for (int64_t h = 0; h < c.heads; ++h) expect_row(b, i, h, result);
        return result;
    }
};

class AttentionTest : public EveryInstructionSet {
  protected:
    void expect_twin(const Case& c) {
        const Device device = open_device(GetParam(), 2);
        AttentionRun attention(c);
        attention.run(device.get());
        expect_close(c.text(), attention.out, attention.expected());
    }
};

TEST_P(AttentionTest, Attention_EveryHeadDim_MatchesTwin) {
    for (const int64_t dim : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 40, 64, 80, 96, 160, 300, 384, 385, 512}) {
        expect_twin({1, 19, 37, 2, dim});
    }
}

TEST_P(AttentionTest, Attention_OddLengths_MatchTwin) {
    for (const int64_t queries : {1, 2, 13, 15, 113, 230}) {
        for (const int64_t keys : {1, 2, 15, 17, 31, 33, 77, 383, 385, 800}) expect_twin({2, queries, keys, 1, 10});
    }
}

TEST_P(AttentionTest, Attention_Causal_MatchesTwin) {
    for (const int64_t length : {1, 2, 13, 16, 33, 77, 120, 385, 500}) expect_twin({2, length, length, 2, 24, true});
}

TEST_P(AttentionTest, Attention_RowStrides_MatchTwinAndKeepGaps) {
    expect_twin({2, 50, 50, 3, 40, false, 1.0f, 240});
    expect_twin({1, 50, 77, 5, 8, false, 1.0f, 3});
    expect_twin({3, 41, 41, 2, 19, true, 1.0f, 77});
}

TEST_P(AttentionTest, Attention_LargeScores_MatchTwin) {
    expect_twin({1, 40, 900, 2, 16, false, 30.0f});
    expect_twin({1, 40, 900, 1, 64, false, 200.0f});
    expect_twin({1, 400, 400, 1, 16, true, 500.0f});
}

// Maxima that grow from block to block, so that what was summed has to be scaled again and again.
TEST_P(AttentionTest, Attention_GrowingScores_MatchTwin) {
    const Device device = open_device(GetParam(), 2);
    AttentionRun attention({1, 30, 2000, 1, 8});
    for (int64_t j = 0; j < 2000; ++j) {
        for (int64_t d = 0; d < 8; ++d) attention.k[j * 8 + d] *= 0.01f * static_cast<float>(j);
    }
    attention.run(device.get());
    expect_close("growing scores", attention.out, attention.expected());
}

TEST_P(AttentionTest, Attention_NotANumberInOneQuery_StaysInItsRow) {
    const Device device = open_device(GetParam(), 1);
    AttentionRun attention({1, 20, 50, 1, 16});
    attention.q[3 * 16 + 5] = std::nanf("");
    attention.run(device.get());
    for (int64_t i = 0; i < 20 * 16; ++i) EXPECT_EQ(std::isnan(attention.out[i]), i / 16 == 3) << i;
}

TEST_P(AttentionTest, Attention_AnyThreadCount_SameBits) {
    for (const Case& c : {Case{2, 300, 500, 3, 40}, Case{1, 260, 260, 2, 64, true}, Case{1, 150, 400, 1, 512}}) {
        AttentionRun attention(c);
        Misaligned first;
        for (const int threads : {1, 2, 5}) {
            const Device device = open_device(GetParam(), threads);
            attention.run(device.get());
            if (threads == 1) first = Misaligned(attention.out);
            expect_same_bits(c.text() + " with " + std::to_string(threads) + " threads", attention.out, first);
        }
    }
}

INSTANTIATE_FOR_EVERY_INSTRUCTION_SET(AttentionTest);

}  // namespace
