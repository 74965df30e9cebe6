// sdn_linear against a scalar twin in float64.
#include "matrix_testing.h"

using namespace matrix_testing;

namespace {

struct Case {
    int64_t rows, columns, columns2, outputs;  // outputs: of out; a geglu weight has twice as many
    int32_t activation = SDN_ACTIVATION_NONE;
    bool bias = true, residual = false;
    int32_t storage = SDN_FLOAT32;

    bool geglu() const { return activation == SDN_ACTIVATION_GEGLU; }
    int64_t weight_rows() const { return geglu() ? 2 * outputs : outputs; }
    int64_t inputs() const { return columns + columns2; }
    std::string text() const {
        return "[" + std::to_string(rows) + "," + std::to_string(columns) + "+" + std::to_string(columns2) + "] to " +
               std::to_string(outputs) + ", activation " + std::to_string(activation) + ", bias " + std::to_string(bias) + ", residual " +
               std::to_string(residual) + ", storage " + std::to_string(storage);
    }
};

double gelu(double x) {
    return x / 2 * std::erfc(-x / std::sqrt(2.0));
}

double activate(double x, int32_t activation) {
    switch (activation) {
        case SDN_ACTIVATION_SILU:
            return x / (1 + std::exp(-x));
        case SDN_ACTIVATION_GELU:
            return gelu(x);
        case SDN_ACTIVATION_QUICK_GELU:
            return x / (1 + std::exp(-1.702 * x));
        default:
            return x;
    }
}

// Inputs, output and expectation of one case.
struct Linear {
    Case c;
    Misaligned x, x2, values, bias, residual, out;

    explicit Linear(const Case& c_) : c(c_) {
        x = random_values(c.rows * c.columns, 1);
        x2 = random_values(c.rows * c.columns2, 2);
        values = random_values(c.weight_rows() * c.inputs(), 3);
        bias = random_values(c.weight_rows(), 4);
        residual = random_values(c.rows * c.outputs, 5);
    }

    Weight weight(sdn_device* device) {
        return make_weight(device, SDN_WEIGHT_MATRIX, c.storage, {c.outputs, c.inputs()}, values.data(), c.bias ? bias.data() : nullptr,
                           c.geglu());
    }

    void run(sdn_device* device, const sdn_weight* w) {
        out = Misaligned(c.rows * c.outputs, std::nanf(""));
        const sdn_tensor to = tensor(out.data(), {c.rows, c.outputs}), tx = tensor(x.data(), {c.rows, c.columns}),
                         tx2 = tensor(x2.data(), {c.rows, c.columns2}), tr = tensor(residual.data(), {c.rows, c.outputs});
        measure_and_run(device, [&](sdn_exec* exec) {
            return sdn_linear(exec, &to, &tx, c.columns2 > 0 ? &tx2 : nullptr, w, c.residual ? &tr : nullptr, c.activation);
        });
    }

    std::vector<Expected> expected(const std::vector<double>& w) {
        std::vector<Expected> result;
        const auto product = [&](int64_t m, int64_t n) {
            Sum sum;
            for (int64_t k = 0; k < c.inputs(); ++k) {
                const float v = k < c.columns ? x[m * c.columns + k] : x2[m * c.columns2 + k - c.columns];
                sum.add(static_cast<double>(v) * w[static_cast<size_t>(n * c.inputs() + k)]);
            }
            if (c.bias) sum.add(static_cast<double>(bias[n]));
            return sum;
        };
        for (int64_t m = 0; m < c.rows; ++m) {
            for (int64_t n = 0; n < c.outputs; ++n) {
                const Sum sum = product(m, n);
                double value = activate(sum.value(), c.activation);
                double limit = 1.2 * sum.limit();  // no activation is steeper
                if (c.geglu()) {
                    const Sum gate = product(m, c.outputs + n);
                    value = sum.value() * gelu(gate.value());
                    limit = std::fabs(gelu(gate.value())) * sum.limit() + 1.2 * std::fabs(sum.value()) * gate.limit();
                }
                limit += 8 * kUnitRoundoff * std::fabs(value);  // of the activation
                if (c.residual) value += static_cast<double>(residual[m * c.outputs + n]);
                result.push_back({value, limit + kUnitRoundoff * std::fabs(value)});
            }
        }
        return result;
    }
};

class LinearTest : public EveryInstructionSet {
  protected:
    void expect_twin(const Case& c) {
        const Device device = open_device(GetParam(), 2);
        Linear linear(c);
        const Weight w = linear.weight(device.get());
        linear.run(device.get(), w.get());
        expect_close(c.text(), linear.out, linear.expected(stored_values(w.get())));
    }
};

TEST_P(LinearTest, Linear_OddSizes_MatchTwin) {
    for (const int64_t rows : {1, 3, 13, 14, 15, 29, 100}) {
        for (const int64_t outputs : {1, 3, 4, 7, 15, 16, 17, 31, 32, 33, 65}) expect_twin({rows, 37, 0, outputs});
    }
    for (const int64_t columns : {1, 2, 3, 15, 16, 17, 383, 384, 385, 769, 1500}) {
        expect_twin({5, columns, 0, 19});
        expect_twin({31, columns, 0, 40});
    }
}

TEST_P(LinearTest, Linear_ManyTiles_MatchTwin) {
    expect_twin({1031, 67, 0, 131});
    expect_twin({67, 131, 0, 2111});
    expect_twin({523, 401, 0, 709, SDN_ACTIVATION_NONE, true, true});
}

TEST_P(LinearTest, Linear_TwoInputs_MatchTwin) {
    for (const int64_t columns : {1, 16, 40, 383, 384, 500}) {
        for (const int64_t columns2 : {1, 3, 24, 384, 400}) expect_twin({17, columns, columns2, 33, SDN_ACTIVATION_NONE, true, true});
    }
}

TEST_P(LinearTest, Linear_EveryFusion_MatchesTwin) {
    for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
        for (int32_t activation = SDN_ACTIVATION_NONE; activation <= SDN_ACTIVATION_GEGLU; ++activation) {
            for (const bool bias : {false, true}) {
                for (const bool residual : {false, true}) {
                    expect_twin({23, 70, 5, 45, activation, bias, residual, storage});
                    expect_twin({40, 450, 0, 6, activation, bias, residual, storage});
                }
            }
        }
    }
}

TEST_P(LinearTest, Linear_AnyThreadCount_SameBits) {
    for (const Case& c : {Case{700, 900, 0, 300, SDN_ACTIVATION_SILU, true, true}, Case{33, 1500, 20, 1000},
                          Case{128, 800, 0, 500, SDN_ACTIVATION_GEGLU, true, false, SDN_BFLOAT16}}) {
        Linear linear(c);
        Misaligned first;
        for (const int threads : {1, 2, 5}) {
            const Device device = open_device(GetParam(), threads);
            linear.run(device.get(), linear.weight(device.get()).get());
            if (threads == 1) first = Misaligned(linear.out);
            expect_same_bits(c.text() + " with " + std::to_string(threads) + " threads", linear.out, first);
        }
    }
}

// The activations over the whole range of float, as seen through an identity: relative error, since no sum precedes them.
TEST_P(LinearTest, Linear_ActivationOfLargeAndSmall_IsAccurate) {
    std::vector<float> points = {0.0f, 1e-30f, 1e-8f, 0.5f, 1.0f, 3.0f, 9.0f, 20.0f, 87.0f, 100.0f, 1e6f, 1e30f};
    for (float x = 1e-3f; x < 14.0f; x *= 1.01f) points.push_back(x);
    const int64_t count = static_cast<int64_t>(points.size());
    const Device device = open_device(GetParam(), 1);
    for (const int32_t activation : {SDN_ACTIVATION_SILU, SDN_ACTIVATION_GELU, SDN_ACTIVATION_QUICK_GELU}) {
        for (const float sign : {1.0f, -1.0f}) {
            Linear linear({count, 1, 0, 1, activation, false});
            linear.values[0] = 1.0f;
            for (int64_t i = 0; i < count; ++i) linear.x[i] = sign * points[static_cast<size_t>(i)];
            linear.run(device.get(), linear.weight(device.get()).get());
            std::vector<Expected> expected;
            for (int64_t i = 0; i < count; ++i) {
                const double x = static_cast<double>(linear.x[i]);
                const double value = activate(x, activation);
                // The machine rounds the exponent's argument: of a large x that shows. Results below 1e-37 may underflow.
                const double argument = activation == SDN_ACTIVATION_GELU ? x * x / 2 : std::fabs(1.702 * x);
                expected.push_back({value, (8 + std::fmin(argument, 100.0)) * kUnitRoundoff * std::fabs(value) + 1e-37});
            }
            expect_close("activation " + std::to_string(activation), linear.out, expected);
        }
    }
}

INSTANTIATE_FOR_EVERY_INSTRUCTION_SET(LinearTest);

}  // namespace
