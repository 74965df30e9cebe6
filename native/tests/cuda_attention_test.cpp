// sdn_attention on a CUDA device in 16 bits, against a scalar twin in float64: every head dim's kernel, strides, alignments and splits.
#include "tests/narrow.h"

namespace sdn::test {

namespace {

struct Case {
    int64_t batch, queries, keys, heads, dim;
    bool causal = false;
    float magnitude = 1;  // of q
    int64_t gap = 0;      // elements between the rows of q and out
    int64_t key_gap = 0;  // and of k and v
    int64_t misalign = 0;
    double scale_factor = 1;  // of the usual 1/sqrt(dim)
    int32_t dtype = SDN_FLOAT16;

    int64_t width() const { return heads * dim; }
    float scale() const { return static_cast<float>(scale_factor / std::sqrt(static_cast<double>(dim))); }
    std::string text() const {
        return "batch, queries, keys, heads, dim " + text_of({batch, queries, keys, heads, dim}) + (causal ? ", causal" : "") +
               ", magnitude " + std::to_string(magnitude) + ", gaps " + text_of({gap, key_gap}) + ", " + std::to_string(misalign) +
               " bytes off, scale " + std::to_string(scale()) + ", " + dtype_name(dtype);
    }
};

struct Layer {
    Case c;
    Array q, k, v;  // with gaps

    explicit Layer(const Case& c_)
        : c(c_),
          q(in_dtype(Array::random({c.batch, c.queries, c.width() + c.gap}, 1, -c.magnitude, c.magnitude), c.dtype, c.misalign)),
          k(in_dtype(Array::random({c.batch, c.keys, c.width() + c.key_gap}, 2), c.dtype, c.misalign)),
          v(in_dtype(Array::random({c.batch, c.keys, c.width() + c.key_gap}, 3), c.dtype, c.misalign)) {}

    Array run(sdn_device* device, std::string* kernels = nullptr) const {
        Array seven(q.shape());
        seven.fill(7);
        Array out = in_dtype(seven, c.dtype, c.misalign);
        const auto view = [&](const Array& rows) {
            sdn_tensor t = rows.view();
            t.shape[2] = c.width();
            return t;
        };
        const sdn_tensor to = view(out), tq = view(q), tk = view(k), tv = view(v);
        const sdn_attention_params params{static_cast<int32_t>(c.heads), c.causal ? 1 : 0, c.scale(), 0};
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_attention(exec, &to, &tq, &tk, &tv, &params));
            if (kernels != nullptr) *kernels = last_kernels(exec);
        });
        return out;
    }

    std::vector<Expected> expected() const {
        const Array fq = in_float32(q), fk = in_float32(k), fv = in_float32(v);
        std::vector<Expected> result(static_cast<size_t>(q.size()), Expected{7, 0});  // the gaps stay as they were
        const auto row = [&](const Array& array, int64_t b, int64_t i, int64_t h) {
            return array.floats() + (b * array.shape()[1] + i) * array.shape()[2] + h * c.dim;
        };
        for (int64_t b = 0; b < c.batch; ++b)
            for (int64_t i = 0; i < c.queries; ++i)
                for (int64_t h = 0; h < c.heads; ++h) {
                    const float* query = row(fq, b, i, h);
                    expect_row(
                        query, [&](int64_t j) { return row(fk, b, j, h); }, [&](int64_t j) { return row(fv, b, j, h); },
                        c.causal ? i + 1 : c.keys, result.data() + (query - fq.floats()));
                }
        return result;
    }

  private:
    template <class KeyRow, class ValueRow>
    void expect_row(const float* query, KeyRow key, ValueRow value_row, int64_t visible, Expected* out) const {
        std::vector<double> weight;
        double highest = -INFINITY, total = 0, score_error = 0;
        for (int64_t j = 0; j < visible; ++j) {
            Sum sum;
            for (int64_t d = 0; d < c.dim; ++d) sum.add(static_cast<double>(query[d]), static_cast<double>(key(j)[d]));
            const double scale = static_cast<double>(c.scale()), score = sum.value() * scale;
            weight.push_back(score);
            highest = std::fmax(highest, score);
            score_error = std::fmax(score_error, kTensorCore * sum.limit() * std::fabs(scale) + 4 * kUnit * std::fabs(score));
        }
        for (double& w : weight) total += w = std::exp(w - highest);
        // As in float32; then a weight is rounded to 16 bits before it meets its value, independently of the others: 4 standard deviations.
        // In float16 weights far below the largest lose digits as subnormal numbers do.
        const double unit = c.dtype == SDN_FLOAT16 ? kFloat16Unit : kBFloat16Unit;
        const double subnormal = c.dtype == SDN_FLOAT16 ? 0x1p-25 : 0;
        const double relative = 2 * score_error + kActivationRelative + 4 * kTensorCore * kUnit * std::sqrt(static_cast<double>(visible));
        for (int64_t d = 0; d < c.dim; ++d) {
            double value = 0, magnitude = 0, squares = 0, sizes = 0;
            for (int64_t j = 0; j < visible; ++j) {
                const double v_value = static_cast<double>(value_row(j)[d]), term = weight[static_cast<size_t>(j)] / total * v_value;
                value += term;
                magnitude += std::fabs(term);
                squares += term * term;
                sizes += std::fabs(v_value);
            }
            const double error = relative * magnitude + 4 * unit * std::sqrt(squares) + subnormal * sizes;
            out[d] = {value, stored_limit(value, error, c.dtype)};
        }
    }
};

constexpr int32_t kNarrow[] = {SDN_FLOAT16, SDN_BFLOAT16};

}  // namespace

class CudaAttention : public EachDevice {
  protected:
    // kernels: what the emulated device, with its 16 multiprocessors, must have run; "": whatever it likes.
    void expect_twin(Case c, const std::string& kernels = "") {
        const Device device(GetParam());
        for (const int32_t dtype : kNarrow) {
            c.dtype = dtype;
            const Layer layer(c);
            std::string ran;
            EXPECT_TRUE(within_limits(in_float32(layer.run(device, &ran)), layer.expected())) << c.text() << " by " << ran;
            if (!kernels.empty() && GetParam() == std::string("cuda:emulated")) {
                EXPECT_EQ(ran, kernels) << c.text();
            }
        }
    }
};
SDN_FOR_EACH_CUDA_DEVICE(CudaAttention);

TEST_P(CudaAttention, EveryHeadDim_EqualsTheTwin) {
    for (const int64_t dim : {1, 7, 12, 100, 300}) expect_twin({1, 19, 37, 2, dim}, "simt_attention");
    for (const int64_t dim : {8, 16, 40}) expect_twin({1, 19, 37, 2, dim}, "sm80_flash_attention_d40_q32_k64");
    for (const int64_t dim : {48, 64}) expect_twin({1, 19, 37, 2, dim}, "sm80_flash_attention_d64_q32_k64");
    for (const int64_t dim : {72, 80}) expect_twin({1, 19, 37, 2, dim}, "sm80_flash_attention_d80_q16_k64");
    for (const int64_t dim : {96, 128, 160}) expect_twin({1, 19, 37, 2, dim}, "sm80_flash_attention_d160_q16_k32");
    for (const int64_t dim : {168, 256, 384, 512}) expect_twin({1, 19, 37, 2, dim}, "sm80_flash_attention_d512_q64_k32");
}

TEST_P(CudaAttention, OddLengths_EqualTheTwin) {
    for (const int64_t queries : {1, 31, 33, 130})
        for (const int64_t keys : {1, 31, 32, 33, 64, 65, 77, 78, 129}) {
            expect_twin({1, queries, keys, 1, 40});
            expect_twin({1, queries, keys, 1, 160});
        }
    for (const int64_t keys : {1, 77, 193}) {
        expect_twin({2, 67, keys, 1, 64});
        expect_twin({2, 67, keys, 1, 80});
    }
}

// Blocks of 1, 2, 4 and 8 warps: as many as leave none of 16 multiprocessors idle.
TEST_P(CudaAttention, ManyQueries_TakeLargeBlocks) {
    expect_twin({2, 100, 90, 2, 40}, "sm80_flash_attention_d40_q32_k64");
    expect_twin({2, 150, 90, 3, 40}, "sm80_flash_attention_d40_q64_k64");
    expect_twin({2, 400, 90, 2, 40}, "sm80_flash_attention_d40_q128_k64");
    expect_twin({2, 400, 77, 2, 64}, "sm80_flash_attention_d64_q128_k64");
    expect_twin({2, 60, 90, 2, 80}, "sm80_flash_attention_d80_q16_k64");
    expect_twin({2, 125, 90, 2, 80}, "sm80_flash_attention_d80_q32_k64");
    expect_twin({2, 250, 90, 2, 80}, "sm80_flash_attention_d80_q64_k64");
    expect_twin({2, 400, 77, 2, 80}, "sm80_flash_attention_d80_q128_k64");
    expect_twin({2, 250, 40, 2, 160}, "sm80_flash_attention_d160_q64_k32");
}

TEST_P(CudaAttention, WideHeads_EqualTheTwin) {
    for (const int64_t keys : {1, 31, 32, 33, 64, 65, 97, 130}) expect_twin({1, 65, keys, 1, 512}, "sm80_flash_attention_d512_q64_k32");
    expect_twin({2, 70, 50, 2, 512});
}

// Fewer blocks than multiprocessors: up to 8 parts, of at least 4 tiles of 32 keys each.
TEST_P(CudaAttention, WideHeadsWithSplitKeys_EqualTheTwin) {
    const std::string split = "sm80_flash_attention_d512_q64_k32 + flash_attention_combine";
    for (const int64_t keys : {250, 256, 390, 1100}) expect_twin({1, 20, keys, 1, 512}, split);
    expect_twin({2, 130, 300, 2, 264, false, 1, 8, 16}, "sm80_flash_attention_d512_q64_k32");
    expect_twin({1, 70, 300, 2, 264, false, 1, 8, 16}, split);
    expect_twin({1, 20, 260, 1, 512, false, 100}, split);
    expect_twin({1, 20, 260, 1, 512, false, 2, 0, 0, 2}, "simt_attention");
}

TEST_P(CudaAttention, Causal_EqualsTheTwin) {
    for (const int64_t length : {1, 8, 9, 33, 64, 77, 200}) expect_twin({2, length, length, 2, 64, true});
    for (const int64_t dim : {7, 40, 80, 160, 512}) expect_twin({1, 150, 150, 1, dim, true});
}

TEST_P(CudaAttention, RowStrides_EqualTheTwinAndKeepTheGaps) {
    expect_twin({2, 50, 50, 3, 40, false, 1, 240, 240}, "sm80_flash_attention_d40_q32_k64");  // packed QKV
    expect_twin({2, 50, 77, 3, 64, false, 1, 0, 192}, "sm80_flash_attention_d64_q32_k64");    // packed KV of another input
    expect_twin({2, 50, 77, 5, 8, false, 1, 3, 4}, "simt_attention");
    expect_twin({2, 50, 77, 2, 40, false, 1, 0, 0, 2}, "simt_attention");
}

TEST_P(CudaAttention, LargeScores_EqualTheTwin) {
    for (const int64_t dim : {40, 64, 80, 160, 512}) {
        expect_twin({1, 40, 300, 1, dim, false, 30});
        expect_twin({1, 70, 70, 1, dim, true, 200});
    }
}

TEST_P(CudaAttention, AnyScale_EqualsTheTwin) {
    for (const double factor : {0.0, -1.0, -20.0, 0.01}) {
        expect_twin({1, 40, 77, 1, 40, false, 2, 0, 0, 0, factor});
        expect_twin({1, 40, 260, 1, 512, false, 2, 0, 0, 0, factor});
        expect_twin({1, 40, 40, 1, 7, true, 2, 0, 0, 0, factor});
    }
}

// Maxima that grow from step to step, slowly and in jumps.
TEST_P(CudaAttention, GrowingScores_EqualTheTwin) {
    const Device device(GetParam());
    for (const int64_t dim : {40, 64, 80, 160, 512})
        for (const float growth : {0.002f, 0.2f}) {
            Layer layer({1, 30, 500, 1, dim});
            for (int64_t i = 0; i < layer.k.size(); ++i) {
                uint16_t& value = layer.k.as<uint16_t>()[i];
                value = half_from_float(float_from_half(value) * growth * static_cast<float>(i / dim));
            }
            EXPECT_TRUE(within_limits(in_float32(layer.run(device)), layer.expected())) << layer.c.text() << ", growth " << growth;
        }
}

TEST_P(CudaAttention, NotANumberInOneQuery_StaysInItsRow) {
    const Device device(GetParam());
    for (const int64_t dim : {40, 64, 80, 160, 512}) {
        Layer layer({1, 20, 50, 1, dim});
        layer.q.as<uint16_t>()[3 * dim + 5] = 0x7e00;
        const Array out = in_float32(layer.run(device));
        for (int64_t i = 0; i < 20 * dim; ++i) EXPECT_EQ(std::isnan(out[i]), i / dim == 3) << i << " of head dim " << dim;
    }
}

TEST_P(CudaAttention, AnyOrderOfBlocks_SameBits) {
    for (const Case& c : {Case{2, 150, 130, 3, 40}, Case{1, 130, 130, 2, 64, true}, Case{1, 70, 100, 2, 80}, Case{1, 50, 60, 1, 160},
                          Case{1, 70, 300, 1, 512}, Case{1, 30, 40, 1, 12}}) {
        const Layer layer(c);
        same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device); });
    }
}

}  // namespace sdn::test
