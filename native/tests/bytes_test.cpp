// Weights in SDN_INT8: packing, and products against a scalar twin in float64.
#include <algorithm>

#include "cpu/baseline.h"
#include "tests/sums.h"

namespace sdn::test {

namespace {

using Values = std::vector<double>;

// The blocks of K that share a scale: equal ones of at most 384 steps of 4, each a multiple of 16 steps. See cpu/gemm/layout.inl.h.
int64_t block_length(int64_t columns) {
    const int64_t steps = columns / 4, count = (steps + 383) / 384;
    return ((steps + count - 1) / count + 15) / 16 * 16 * 4;
}

double largest_of(const Values& values, int64_t first, int64_t end) {
    double largest = 0;
    for (int64_t k = first; k < end; ++k) largest = std::max(largest, std::fabs(values[static_cast<size_t>(k)]));
    return largest;
}

// A product of what a row stands for and what a weight's row stands for, the latter exactly. Each input is rounded by up to half a step of
// its block, and evenly: a deviation of step / sqrt(12), which meets its weight. 6 deviations of the sum, or half a step of each term,
// where that is less, besides float32's own roundings.
Expected product(const Values& x, const Values& w, double bias) {
    const int64_t columns = static_cast<int64_t>(x.size()), length = block_length(columns);
    Sum sum;
    double variance = 0, most = 0;
    for (int64_t first = 0; first < columns; first += length) {
        const int64_t end = std::min(columns, first + length);
        const double step = largest_of(x, first, end) / 127;
        for (int64_t k = first; k < end; ++k) {
            const size_t at = static_cast<size_t>(k);
            sum.add(x[at], w[at]);
            variance += step * step / 12 * w[at] * w[at];
            most += step / 2 * std::fabs(w[at]);
        }
    }
    sum.add(bias);
    return {sum.value(), std::min(6 * std::sqrt(variance), 1.0001 * most) + 2 * sum.limit()};
}

double gelu(double x) {
    return x / 2 * std::erfc(-x / std::sqrt(2.0));
}

// Row `row` of [rows, columns]; a convolution's [channels, taps] as (tap, channel).
Values row_of(const Array& values, int64_t row, int64_t columns, int64_t taps = 1) {
    Values result(static_cast<size_t>(columns));
    const int64_t channels = columns / taps;
    for (int64_t k = 0; k < columns; ++k)
        result[static_cast<size_t>(k)] = static_cast<double>(values[row * columns + k % channels * taps + k / channels]);
    return result;
}

Array unpacked(const Weight& weight) {
    const sdn_weight_info info = weight.info();
    EXPECT_EQ(info.storage, SDN_INT8);
    Array values({info.rows, info.columns});
    ok(sdn_weight_unpack(weight, values.data(), nullptr));
    return values;
}

struct Linear {
    int64_t rows, columns, outputs;  // outputs: of each part
    bool geglu = false;
    Array x;
    std::vector<Array> parts, biases;

    Linear(int64_t rows_, int64_t columns_, int64_t outputs_, bool geglu_ = false)
        : rows(rows_), columns(columns_), outputs(outputs_), geglu(geglu_), x(Array::random({rows, columns}, 1, -1, 1, kMisaligned)) {
        for (uint32_t i = 0; i < (geglu ? 2u : 1u); ++i) {
            parts.push_back(Array::random({outputs, columns}, 2 + i, -0.1f, 0.1f));
            biases.push_back(Array::random({outputs}, 4 + i));
        }
    }

    std::unique_ptr<Weight> weight(sdn_device* device) const {
        std::vector<const Array*> part_list, bias_list;
        for (const Array& part : parts) part_list.push_back(&part);
        for (const Array& b : biases) bias_list.push_back(&b);
        return std::make_unique<Weight>(device, SDN_WEIGHT_MATRIX, part_list, bias_list, SDN_INT8, geglu);
    }

    Array run(sdn_device* device) const {
        const std::unique_ptr<Weight> w = weight(device);
        Array out({rows, outputs}, SDN_FLOAT32, kMisaligned);
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_linear(exec, out(), x(), nullptr, *w, nullptr, geglu ? SDN_ACTIVATION_GEGLU : SDN_ACTIVATION_NONE));
        });
        return out;
    }

    std::vector<Expected> expected(sdn_device* device) const {
        const Array w = unpacked(*weight(device));
        std::vector<Expected> result;
        for (int64_t m = 0; m < rows; ++m) {
            const Values row = row_of(x, m, columns);
            for (int64_t n = 0; n < outputs; ++n) {
                Expected e = product(row, row_of(w, n, columns), static_cast<double>(biases[0][n]));
                if (geglu) {
                    const Expected gate = product(row, row_of(w, outputs + n, columns), static_cast<double>(biases[1][n]));
                    const double limit = 1.2 * gate.limit + kActivationRelative;  // GELU is nowhere steeper
                    e.limit = std::fabs(gelu(gate.value)) * e.limit + limit * (std::fabs(e.value) + e.limit);
                    e.value *= gelu(gate.value);
                }
                result.push_back(e);
            }
        }
        return result;
    }
};

struct Convolution {
    int64_t batch, height, width, channels, outputs;
    int64_t kernel = 3;
    int32_t stride = 1, pad = 1;
    bool doubled = false;

    int64_t view(int64_t size) const { return doubled ? 2 * size : size; }
    int64_t out(int64_t size) const { return (view(size) + 2 * pad - kernel) / stride + 1; }
    int64_t columns() const { return channels * kernel * kernel; }

    // The inputs of a pixel, (tap, channel).
    Values window(const Array& x, int64_t b, int64_t y, int64_t column) const {
        Values values;
        for (int64_t i = y * stride - pad; i < y * stride - pad + kernel; ++i)
            for (int64_t j = column * stride - pad; j < column * stride - pad + kernel; ++j)
                for (int64_t c = 0; c < channels; ++c) {
                    const bool inside = i >= 0 && i < view(height) && j >= 0 && j < view(width);
                    const int64_t at = ((b * height + i / (doubled ? 2 : 1)) * width + j / (doubled ? 2 : 1)) * channels + c;
                    values.push_back(inside ? static_cast<double>(x[at]) : 0.0);
                }
        return values;
    }

    void expect_twin(const char* name, int32_t precision) const {
        const Device device(name, 2, precision);
        const Array x = Array::random({batch, height, width, channels}, 1, -1, 1, kMisaligned);
        const Array values = Array::random({outputs, channels, kernel, kernel}, 2), bias = Array::random({outputs}, 3);
        const Weight weight(device, SDN_WEIGHT_CONV2D, {&values}, {&bias}, SDN_INT8);
        const Array w = unpacked(weight);
        const Array result({batch, out(height), out(width), outputs}, SDN_FLOAT32, kMisaligned);
        const sdn_conv2d_params params{
            stride, pad, pad, pad, pad, static_cast<int32_t>(doubled ? 2 * height : 0), static_cast<int32_t>(doubled ? 2 * width : 0), 0};
        measure_and_run(device, [&](sdn_exec* exec) { ok(sdn_conv2d(exec, result(), x(), weight, nullptr, nullptr, &params)); });
        std::vector<Expected> expected;
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t y = 0; y < out(height); ++y)
                for (int64_t column = 0; column < out(width); ++column)
                    for (int64_t o = 0; o < outputs; ++o)
                        expected.push_back(
                            product(window(x, b, y, column), row_of(w, o, columns(), kernel * kernel), static_cast<double>(bias[o])));
        EXPECT_TRUE(within_limits(result, expected)) << text_of(x.shape()) << " by " << text_of(values.shape());
    }
};

}  // namespace

// The devices that may multiply bytes; skipped where the machine cannot.
class Bytes : public EachDevice {
  protected:
    void SetUp() override {
        EachDevice::SetUp();
        if (IsSkipped()) return;
        const Device device(GetParam());
        const Array part({1, 4});
        const sdn_tensor view = part.view();
        const sdn_weight_desc desc{SDN_WEIGHT_MATRIX, SDN_INT8, 1, 0, 0, 0, &view, nullptr};
        sdn_weight* weight = nullptr;
        const sdn_status status = sdn_weight_create(device, &desc, &weight);
        if (status == SDN_ERROR_UNSUPPORTED) GTEST_SKIP() << sdn_last_error();
        ok(status);
        ok(sdn_weight_destroy(weight));
    }
};
INSTANTIATE_TEST_SUITE_P(On, Bytes, ::testing::Values("cpu:avx512", "cpu:avx512bf16"),
                         [](const ::testing::TestParamInfo<const char*>& info) { return std::string(info.param).substr(4); });

// What is unpacked is a whole number of -127 to 127 times the block's largest weight / 127, and the nearest one.
TEST_P(Bytes, Unpacked_IsWithinHalfAStep) {
    const Device device(GetParam());
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, SDN_FLOAT64})
        for (const Shape& shape : {Shape{1, 4}, Shape{33, 60}, Shape{70, 1544}, Shape{40, 20, 3, 3}, Shape{5, 400, 3, 3}}) {
            const Array source = Array::random(shape, 7, -2, 2), part(shape, dtype);
            round_to(source, dtype);
            cpu::convert(part.data(), dtype, source.data(), SDN_FLOAT32, source.size());
            const Weight weight(device, shape.size() == 2 ? SDN_WEIGHT_MATRIX : SDN_WEIGHT_CONV2D, {&part}, {}, SDN_INT8);
            const Array got = unpacked(weight);
            const sdn_weight_info info = weight.info();
            const int64_t length = block_length(info.columns), taps = shape.size() == 2 ? 1 : 9;
            EXPECT_GE(info.bytes, source.size());
            EXPECT_LE(info.bytes, (shape[0] + 31) / 32 * 32 * (info.columns + 8 * (info.columns / length + 1))) << "bytes and scales";
            for (int64_t row = 0; row < info.rows; ++row) {
                const Values before = row_of(source, row, info.columns, taps), after = row_of(got, row, info.columns, taps);
                for (int64_t k = 0; k < info.columns; ++k) {
                    const int64_t first = k / length * length;
                    const double step = largest_of(before, first, std::min(info.columns, first + length)) / 127;
                    const size_t at = static_cast<size_t>(k);
                    ASSERT_LE(std::fabs(after[at] - before[at]), step * 0.5001) << text_of(shape) << " row " << row << ", k " << k;
                    ASSERT_NEAR(after[at] / step, std::nearbyint(after[at] / step), 1e-4);
                }
            }
        }
}

TEST_P(Bytes, Linear_EqualsTheTwin) {
    const Device device(GetParam());
    for (const int64_t rows : {1, 3, 14, 15, 29, 130})
        for (const int64_t columns : {4, 12, 64, 68, 1536, 1540, 3100})
            for (const int64_t outputs : {1, 16, 17, 32, 65}) {
                const Linear layer(rows, columns, outputs);
                EXPECT_TRUE(within_limits(layer.run(device), layer.expected(device))) << rows << " " << columns << " " << outputs;
            }
    const Linear geglu(37, 1600, 45, true);
    EXPECT_TRUE(within_limits(geglu.run(device), geglu.expected(device)));
    const Linear wide(300, 128, 700);
    EXPECT_TRUE(within_limits(wide.run(device), wide.expected(device)));
}

TEST_P(Bytes, Convolution_EqualsTheTwin) {
    for (const int32_t precision : {SDN_PRECISION_REFERENCE, SDN_PRECISION_FAST}) {
        Convolution{2, 7, 5, 20, 33}.expect_twin(GetParam(), precision);
        Convolution{1, 9, 8, 60, 12, 3, 2}.expect_twin(GetParam(), precision);
        Convolution{2, 6, 7, 64, 40, 1, 1, 0}.expect_twin(GetParam(), precision);
        Convolution{1, 5, 4, 220, 17, 3, 1, 1, true}.expect_twin(GetParam(), precision);
        Convolution{1, 33, 32, 16, 32}.expect_twin(GetParam(), precision);  // which Winograd would take
    }
}

TEST_P(Bytes, AnyThreadsAndRows_SameBits) {
    const Linear layer(131, 1800, 200);
    const Array whole = same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device); });
    const Device device(GetParam());
    for (const int64_t row : {0, 77, 130}) {
        Linear alone(1, 1800, 200);
        std::copy_n(&layer.x[row * 1800], 1800, alone.x.floats());
        const Array out = alone.run(device);
        for (int64_t n = 0; n < 200; ++n) ASSERT_EQ(out[n], whole[row * 200 + n]) << "row " << row << ", output " << n;
    }
}

// Nothing that is not finite may become a plausible number.
TEST_P(Bytes, NonFiniteInputs_GiveNonFiniteRows) {
    const Device device(GetParam());
    const Linear layer(5, 1700, 40);
    const Array before = layer.run(device);
    layer.x[1 * 1700 + 1699] = NAN, layer.x[2 * 1700] = INFINITY, layer.x[4 * 1700 + 700] = -INFINITY;
    const Array after = layer.run(device);
    for (int64_t m = 0; m < 5; ++m)
        for (int64_t n = 0; n < 40; ++n) {
            if (m == 0 || m == 3)
                EXPECT_EQ(after[m * 40 + n], before[m * 40 + n]) << m << " " << n;
            else
                EXPECT_FALSE(std::isfinite(after[m * 40 + n])) << m << " " << n;
        }
}

TEST_P(Bytes, NonFiniteWeights_GiveNonFiniteColumns) {
    const Device device(GetParam());
    const Linear layer(3, 64, 20);
    layer.parts[0][3 * 64 + 5] = NAN, layer.parts[0][7 * 64] = -INFINITY;
    const Array out = layer.run(device);
    for (int64_t m = 0; m < 3; ++m)
        for (int64_t n = 0; n < 20; ++n) EXPECT_EQ(std::isfinite(out[m * 20 + n]), n != 3 && n != 7) << m << " " << n;
}

TEST_P(Bytes, ZerosAndTinyInputs_GiveTheBias) {
    const Device device(GetParam());
    for (const float value : {0.0f, -0.0f, 1e-35f, 1e-42f}) {
        const Linear layer(3, 132, 37);
        layer.x.fill(value);
        const Array out = layer.run(device);
        for (int64_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], layer.biases[0][i % 37]) << value;
    }
}

TEST(BytesRefused, WhereTheyCannotBeMultiplied_SaysWhatCould) {
    const Array matrix({4, 8}), odd({4, 6}), vector({8});
    const auto create = [](sdn_device* device, int kind, const Array& part, const Array* bias) {
        const sdn_tensor p = part.view(), b = bias != nullptr ? bias->view() : sdn_tensor{};
        const sdn_weight_desc desc{kind, SDN_INT8, 1, 0, 0, 0, &p, bias != nullptr ? &b : nullptr};
        sdn_weight* weight = nullptr;
        return sdn_weight_create(device, &desc, &weight);
    };
    const Device portable("cpu:portable");
    expect_error(create(portable, SDN_WEIGHT_MATRIX, matrix, nullptr), SDN_ERROR_UNSUPPORTED, {"int8", "AVX512_VNNI", "cpu:portable"});
    expect_error(create(portable, SDN_WEIGHT_MATRIX, odd, nullptr), SDN_ERROR_SHAPE, {"parts[0]", "[4,6]", "fours"});
    expect_error(create(portable, SDN_WEIGHT_EMBEDDING, matrix, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"matrices and convolutions"});
    expect_error(create(portable, SDN_WEIGHT_NORM, vector, &vector), SDN_ERROR_INVALID_ARGUMENT, {"matrices and convolutions"});
#if defined(SDN_HAS_EMULATION)
    const Device emulated("cuda:emulated");
    expect_error(create(emulated, SDN_WEIGHT_MATRIX, matrix, nullptr), SDN_ERROR_UNSUPPORTED, {"int8", "CPU devices"});
#endif
}

}  // namespace sdn::test
