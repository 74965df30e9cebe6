// Products of float16: the range of what is multiplied. linear_test.cpp, conv2d_test.cpp and attention_test.cpp have the sizes.
#include <algorithm>

#include "tests/sums.h"

namespace sdn::test {

namespace {

constexpr int64_t kRows = 31, kColumns = 700, kOutputs = 45;

struct Product {
    Array x, values = Array::random({kOutputs, kColumns}, 2), bias = Array::random({kOutputs}, 3);
    int32_t storage = SDN_BFLOAT16;

    explicit Product(int64_t rows = kRows) : x(Array::random({rows, kColumns}, 1, -1, 1, kMisaligned)) {}

    std::unique_ptr<Weight> weight(sdn_device* device) const {
        return std::make_unique<Weight>(device, SDN_WEIGHT_MATRIX, std::vector<const Array*>{&values}, std::vector<const Array*>{&bias},
                                        storage);
    }

    Array run(sdn_device* device) const {
        const std::unique_ptr<Weight> w = weight(device);
        Array out({x.shape()[0], kOutputs}, SDN_FLOAT32, kMisaligned);
        measure_and_run(device, [&](sdn_exec* exec) { ok(sdn_linear(exec, out(), x(), nullptr, *w, nullptr, SDN_ACTIVATION_NONE)); });
        return out;
    }

    void expect_twin(sdn_device* device) const {
        const std::vector<double> w = stored_values(*weight(device));
        std::vector<Expected> expected;
        for (int64_t m = 0; m < kRows; ++m)
            for (int64_t n = 0; n < kOutputs; ++n) {
                Sum sum;
                for (int64_t k = 0; k < kColumns; ++k)
                    sum.add(static_cast<double>(x[m * kColumns + k]), w[static_cast<size_t>(n * kColumns + k)]);
                sum.add(static_cast<double>(bias[n]));
                expected.push_back({sum.value(), sum.limit_in_halves()});
            }
        EXPECT_TRUE(within_limits(run(device), expected));
    }

    void scale(const Array& array, float factor) const {
        for (int64_t i = 0; i < array.size(); ++i) array[i] *= factor;
    }
};

Array attend(sdn_device* device, int32_t heads, const Array& q, const Array& k, const Array& v, int32_t operands = SDN_FLOAT16) {
    Array out(q.shape());
    const sdn_attention_params params{heads, 0, 0.15f, operands};
    measure_and_run(device, [&](sdn_exec* exec) { ok(sdn_attention(exec, out(), q(), k(), v(), &params)); });
    return out;
}

::testing::AssertionResult close_to(const Array& got, const Array& expected, double limit) {
    std::vector<double> values;
    for (int64_t i = 0; i < expected.size(); ++i) values.push_back(static_cast<double>(expected[i]));
    return close_to(got, values, limit);
}

}  // namespace

class Halves : public ::testing::Test {
  protected:
    void SetUp() override {
        sdn_device* device = nullptr;
        if (sdn_device_open("cpu:avx512", 1, SDN_PRECISION_FAST, &device) != SDN_OK) GTEST_SKIP() << sdn_last_error();
        const bool here = multiplies_halves(device, SDN_FLOAT16);
        ok(sdn_device_close(device));
        if (!here) GTEST_SKIP() << "this machine has no AVX512_FP16";
        device_ = std::make_unique<Device>("cpu:avx512", 2, SDN_PRECISION_FAST);
    }
    sdn_device* device() const { return *device_; }

    // Whether products are rounded as halves are: beside those of reference precision.
    bool rounds(const Product& product) const {
        const Device reference("cpu:avx512");
        return !identical(product.run(device()), product.run(reference));
    }

    std::unique_ptr<Device> device_;
};

TEST_F(Halves, SixteenBitWeights_AreMultipliedSo) {
    Product product;
    for (const int32_t storage : {SDN_FLOAT16, SDN_BFLOAT16}) {
        product.storage = storage;
        EXPECT_TRUE(rounds(product)) << dtype_name(storage);
    }
    product.storage = SDN_FLOAT32;
    EXPECT_FALSE(rounds(product));
}

// Far outside of float16's range: rows are scaled, each by itself, and bfloat16 weights all together.
TEST_F(Halves, InputsOfAnyMagnitude_EqualTheTwin) {
    for (const int32_t storage : {SDN_FLOAT16, SDN_BFLOAT16})
        for (const float magnitude : {1e-20f, 1e-6f, 300.0f, 1e5f, 1e20f}) {
            Product product;
            product.storage = storage, product.bias.fill(0);
            product.scale(product.x, magnitude);
            for (int64_t k = 0; k < kColumns; ++k) product.x[3 * kColumns + k] = 1e-3f * product.x[k];
            product.expect_twin(device());
        }
}

// Each block of K has its scale; where the first is large the second must not be lost.
TEST_F(Halves, BlocksOfDifferentMagnitude_EqualTheTwin) {
    for (const float first : {1e-6f, 1e6f}) {
        const Product product;
        product.bias.fill(0);
        for (int64_t m = 0; m < kRows; ++m)
            for (int64_t k = 0; k < kColumns / 2; ++k) product.x[m * kColumns + k] *= first;
        product.expect_twin(device());
        for (int64_t n = 0; n < kOutputs; ++n)
            for (int64_t k = 0; k < kColumns / 2; ++k) product.values[n * kColumns + k] = 0;
        product.expect_twin(device());
    }
}

// An output whose weights are far below the largest of the tensor.
TEST_F(Halves, OutputsOfDifferentMagnitude_EqualTheTwin) {
    for (const int32_t storage : {SDN_FLOAT16, SDN_BFLOAT16}) {
        Product product;
        product.storage = storage, product.bias.fill(0);
        for (int64_t k = 0; k < kColumns; ++k) product.values[7 * kColumns + k] *= 0x1p-9f, product.values[40 * kColumns + k] *= 0x1p4f;
        product.expect_twin(device());
    }
}

TEST_F(Halves, WeightsOfAnyMagnitude_EqualTheTwin) {
    for (const float magnitude : {1e-20f, 1e-6f, 1e-3f, 300.0f, 1e4f}) {
        Product product;
        product.scale(product.values, magnitude);
        product.bias.fill(0);
        product.expect_twin(device());
        if (magnitude < 1e-3f) continue;  // below float16's normal numbers
        product.storage = SDN_FLOAT16;
        product.expect_twin(device());
    }
}

// Weights that are too large for float16 take products of float32.
TEST_F(Halves, LargeOrNonFiniteWeights_AreMultipliedInFloat32) {
    for (const int32_t storage : {SDN_FLOAT16, SDN_BFLOAT16})
        for (const float value : {40000.0f, 1e30f, static_cast<float>(INFINITY), static_cast<float>(NAN)}) {
            Product product;
            product.storage = storage;
            product.values[5 * kColumns + 7] = value;
            EXPECT_FALSE(rounds(product)) << value;
            const bool finite = std::isfinite(value) && (storage == SDN_BFLOAT16 || value < 65504);
            const Array out = product.run(device());
            for (int64_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::isfinite(out[i]), finite || i % kOutputs != 5) << value;
        }
}

// The largest sums a chain can meet. Equal terms are no random walk: every addition may round the same way, by half a unit of a sum that is
// half of the chain's on average.
TEST_F(Halves, AllOfOneSign_StayInRange) {
    for (const int32_t storage : {SDN_FLOAT16, SDN_BFLOAT16})
        for (const float weight : {1.9999f, 0.001f, 30000.0f})
            for (const float input : {1.9999f, 1e-3f, 1e6f}) {
                Product product;
                product.storage = storage;
                product.values.fill(weight), product.x.fill(input), product.bias.fill(0);
                const double stored = stored_values(*product.weight(device()))[0], sum = kColumns * static_cast<double>(input) * stored;
                const std::vector<double> expected(static_cast<size_t>(kRows * kOutputs), sum);
                EXPECT_TRUE(each_close_to(product.run(device()), expected, 64.0 / 2 * kFloat16Unit)) << weight << " " << input;
            }
}

TEST_F(Halves, NonFiniteInputs_GiveNonFiniteRows) {
    const Product product;
    const Array before = product.run(device());
    product.x[1 * kColumns + 699] = NAN, product.x[2 * kColumns] = INFINITY, product.x[30 * kColumns + 300] = -INFINITY;
    const Array after = product.run(device());
    for (int64_t i = 0; i < after.size(); ++i) {
        const int64_t row = i / kOutputs;
        if (row == 1 || row == 2 || row == 30)
            EXPECT_FALSE(std::isfinite(after[i])) << i;
        else
            EXPECT_EQ(after[i], before[i]) << i;
    }
}

TEST_F(Halves, Zeros_GiveTheBias) {
    Product product;
    for (const float value : {0.0f, -0.0f, 1e-35f, 1e-42f}) {
        product.x.fill(value);
        const Array out = product.run(device());
        for (int64_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], product.bias[i % kOutputs]) << value;
    }
}

TEST_F(Halves, RowAlone_SameBits) {
    const Product product;
    const Array whole = product.run(device());
    for (const int64_t row : {0, 17, 30}) {
        const Product alone(1);
        std::copy_n(&product.x[row * kColumns], kColumns, alone.x.floats());
        const Array out = alone.run(device());
        for (int64_t n = 0; n < kOutputs; ++n) ASSERT_EQ(out[n], whole[row * kOutputs + n]) << "row " << row << ", output " << n;
    }
}

// Queries, keys and values have scales of their own; what is not a number stays in its row.
TEST_F(Halves, AttentionOfAnyMagnitude_EqualsFloat32) {
    constexpr int64_t kLength = 90, kDim = 40;
    const Device reference("cpu:avx512");
    for (const float magnitude : {1e-12f, 1.0f, 1e6f, 1e12f}) {
        const Array q = Array::random({1, kLength, kDim}, 1, -magnitude, magnitude);
        const Array k = Array::random({1, kLength, kDim}, 2, -1 / magnitude, 1 / magnitude);
        const Array v = Array::random({1, kLength, kDim}, 3, -magnitude, magnitude);
        EXPECT_TRUE(close_to(attend(device(), 1, q, k, v), attend(reference, 1, q, k, v), 16 * kFloat16Unit)) << magnitude;
    }
}

// Of two samples, two heads and three blocks of keys each has its scales.
TEST_F(Halves, AttentionOfBlocksOfDifferentMagnitude_EqualsFloat32) {
    constexpr int64_t kBatch = 2, kHeads = 2, kKeys = 801, kDim = 24, kWidth = kHeads * kDim;
    const Device reference("cpu:avx512");
    const Array q = Array::random({kBatch, 33, kWidth}, 1), k = Array::random({kBatch, kKeys, kWidth}, 2), v = Array::random(k.shape(), 3);
    for (int64_t i = 0; i < k.size(); ++i) {
        const int64_t part =
            i / kWidth / kKeys * 6 + i / kDim % kHeads * 3 + i / kWidth % kKeys / 267;  // of batch, head and third of the keys
        k[i] *= std::ldexp(1.0f, static_cast<int>(part * 5 % 12) - 9), v[i] *= std::ldexp(1.0f, static_cast<int>(part * 7 % 12) - 5);
    }
    for (int64_t b = 0; b < kBatch; ++b)
        for (int64_t h = 0; h < kHeads; ++h) {
            const auto part = [&](const Array& all) {
                Array one({1, all.shape()[1], kDim});
                for (int64_t i = 0; i < all.shape()[1]; ++i)
                    std::copy_n(&all[(b * all.shape()[1] + i) * kWidth + h * kDim], kDim, &one[i * kDim]);
                return one;
            };
            const Array expected = attend(reference, 1, part(q), part(k), part(v));
            EXPECT_TRUE(close_to(part(attend(device(), kHeads, q, k, v)), expected, 16 * kFloat16Unit)) << b << " " << h;
        }
}

TEST_F(Halves, NotANumberInAttention_StaysWhereItIs) {
    constexpr int64_t kLength = 90, kDim = 40;
    const Device reference("cpu:avx512");
    const Array q = Array::random({1, kLength, kDim}, 1), k = Array::random({1, kLength, kDim}, 2),
                v = Array::random({1, kLength, kDim}, 3);
    const Array before = attend(device(), 1, q, k, v);
    v[70 * kDim + 5] = NAN;
    const Array column = attend(device(), 1, q, k, v);
    for (int64_t i = 0; i < column.size(); ++i) {
        if (i % kDim == 5)
            ASSERT_TRUE(std::isnan(column[i])) << i;
        else
            ASSERT_EQ(column[i], before[i]) << i;
    }
    v[70 * kDim + 5] = 0, q[3 * kDim + 5] = INFINITY;
    const Array row = attend(device(), 1, q, k, v);
    for (int64_t i = 0; i < row.size(); ++i) ASSERT_EQ(std::isfinite(row[i]), i / kDim != 3) << i;
}

// Beside weights in bytes attention is float16, too.
TEST_F(Halves, AttentionBesideBytes_IsThatOfFloat16) {
    const Array q = Array::random({1, 40, 16}, 1), k = Array::random({1, 50, 16}, 2), v = Array::random({1, 50, 16}, 3);
    const Array halves = attend(device(), 1, q, k, v, SDN_FLOAT16);
    EXPECT_TRUE(identical(attend(device(), 1, q, k, v, SDN_INT8), halves));
    EXPECT_TRUE(identical(attend(device(), 1, q, k, v, SDN_BFLOAT16), halves));
    EXPECT_FALSE(identical(attend(device(), 1, q, k, v, SDN_FLOAT32), halves));
}

// The sums of up to four of a doubled image's weights.
TEST_F(Halves, DoubledImageOfLargeWeights_StaysInRange) {
    for (const int32_t storage : {SDN_FLOAT16, SDN_BFLOAT16}) {
        const Array x({1, 3, 3, 200}), values({33, 200, 3, 3}), out({1, 6, 6, 33});
        x.fill(100), values.fill(30000);
        const Weight weight(device(), SDN_WEIGHT_CONV2D, {&values}, {}, storage);
        const sdn_conv2d_params params{1, 1, 1, 1, 1, 6, 6, 0};
        measure_and_run(device(), [&](sdn_exec* exec) { ok(sdn_conv2d(exec, out(), x(), weight, nullptr, nullptr, &params)); });
        const double all_taps = 9 * 200 * 100 * stored_values(weight)[0];
        EXPECT_NEAR(static_cast<double>(out[(2 * 6 + 2) * 33 + 5]), all_taps, 32 * kFloat16Unit * all_taps);
        EXPECT_NEAR(static_cast<double>(out[0]), all_taps * 4 / 9, 32 * kFloat16Unit * all_taps);
    }
}

}  // namespace sdn::test
