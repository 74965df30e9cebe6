// sdn_linear against a scalar twin in float64.
#include "tests/sums.h"

namespace sdn::test {

namespace {

struct Case {
    int64_t rows, columns, columns2, outputs;  // outputs: of out; a geglu weight has twice as many
    int32_t activation = SDN_ACTIVATION_NONE;
    bool bias = true, residual = false;
    int32_t storage = SDN_FLOAT32, precision = SDN_PRECISION_REFERENCE;

    bool geglu() const { return activation == SDN_ACTIVATION_GEGLU; }
    int64_t inputs() const { return columns + columns2; }
    std::string text() const {
        return "[" + std::to_string(rows) + "," + std::to_string(columns) + "+" + std::to_string(columns2) + "] to " +
               std::to_string(outputs) + ", activation " + std::to_string(activation) + ", bias " + std::to_string(bias) + ", residual " +
               std::to_string(residual) + ", storage " + dtype_name(storage);
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
        case SDN_ACTIVATION_RELU:
            return x < 0 ? 0 : x;
        case SDN_ACTIVATION_TANH:
            return std::tanh(x);
        default:
            return x;
    }
}

// Inputs and expectation of one case.
struct Layer {
    Case c;
    Array x, x2, residual;
    std::vector<Array> values, biases;  // of the weight's parts

    explicit Layer(const Case& c_)
        : c(c_),
          x(Array::random({c.rows, c.columns}, 1, -1, 1, kMisaligned)),
          x2(Array::random({c.rows, c.columns2}, 2, -1, 1, kMisaligned)),
          residual(Array::random({c.rows, c.outputs}, 3, -1, 1, kMisaligned)) {
        if (c.precision == SDN_PRECISION_FAST) round_to(x, c.storage), round_to(x2, c.storage);
        for (uint32_t i = 0; i < (c.geglu() ? 2u : 1u); ++i) {
            values.push_back(Array::random({c.outputs, c.inputs()}, 4 + i));
            biases.push_back(Array::random({c.outputs}, 6 + i));
        }
    }

    std::unique_ptr<Weight> weight(sdn_device* device) const {
        std::vector<const Array*> parts, part_biases;
        for (const Array& part : values) parts.push_back(&part);
        for (const Array& bias : biases)
            if (c.bias) part_biases.push_back(&bias);
        return std::make_unique<Weight>(device, SDN_WEIGHT_MATRIX, parts, part_biases, c.storage, c.geglu());
    }

    Array run(sdn_device* device, const Weight& w) const {
        Array out({c.rows, c.outputs}, SDN_FLOAT32, kMisaligned);
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_linear(exec, out(), x(), c.columns2 > 0 ? x2() : nullptr, w, c.residual ? residual() : nullptr, c.activation));
        });
        return out;
    }

    Sum product(const std::vector<double>& w, int64_t m, int64_t n) const {
        Sum sum;
        for (int64_t k = 0; k < c.inputs(); ++k) {
            const float v = k < c.columns ? x[m * c.columns + k] : x2[m * c.columns2 + k - c.columns];
            sum.add(static_cast<double>(v), w[static_cast<size_t>(n * c.inputs() + k)]);
        }
        if (c.bias) sum.add(static_cast<double>(biases[static_cast<size_t>(n / c.outputs)][n % c.outputs]));
        return sum;
    }

    std::vector<Expected> expected(const std::vector<double>& w, bool halves) const {
        const auto limit_of = [halves](const Sum& sum) { return halves ? sum.limit_in_halves() : sum.limit(); };
        std::vector<Expected> result;
        for (int64_t m = 0; m < c.rows; ++m) {
            for (int64_t n = 0; n < c.outputs; ++n) {
                const Sum sum = product(w, m, n);
                double value = activate(sum.value(), c.activation);
                double limit = 1.2 * limit_of(sum);  // no activation is steeper
                if (c.geglu()) {
                    const Sum gate = product(w, m, c.outputs + n);
                    value = sum.value() * gelu(gate.value());
                    limit = std::fabs(gelu(gate.value())) * limit_of(sum) + 1.2 * (std::fabs(sum.value()) + limit_of(sum)) * limit_of(gate);
                }
                limit += kActivationRelative * std::fabs(value);
                if (c.residual) value += static_cast<double>(residual[m * c.outputs + n]);
                result.push_back({value, limit + kUnit * std::fabs(value)});
            }
        }
        return result;
    }
};

}  // namespace

class Linear : public EachDevice {
  protected:
    void expect_twin(const Case& c) {
        const Device device(GetParam(), 2, c.precision);
        const Layer layer(c);
        const std::unique_ptr<Weight> w = layer.weight(device);
        EXPECT_TRUE(within_limits(layer.run(device, *w), layer.expected(stored_values(*w), multiplies_halves(device, c.storage))))
            << c.text();
    }
};
SDN_FOR_EACH_DEVICE(Linear);

TEST_P(Linear, OddSizes_EqualTheTwin) {
    for (const int64_t rows : {1, 3, 13, 14, 15, 29, 100})
        for (const int64_t outputs : {1, 3, 4, 7, 15, 16, 17, 31, 32, 33, 65}) expect_twin({rows, 37, 0, outputs});
    for (const int64_t columns : {1, 2, 3, 15, 16, 17, 383, 384, 385, 769, 1500}) {
        expect_twin({5, columns, 0, 19});
        expect_twin({31, columns, 0, 40});
    }
}

TEST_P(Linear, ManyTiles_EqualTheTwin) {
    expect_twin({1031, 67, 0, 131});
    expect_twin({67, 131, 0, 2111});
    expect_twin({523, 401, 0, 309, SDN_ACTIVATION_NONE, true, true});
}

TEST_P(Linear, TwoInputs_EqualTheTwin) {
    for (const int64_t columns : {1, 16, 40, 383, 384, 500})
        for (const int64_t columns2 : {1, 3, 24, 384, 400}) expect_twin({17, columns, columns2, 33, SDN_ACTIVATION_NONE, true, true});
}

TEST_P(Linear, EveryFusion_EqualsTheTwin) {
    for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
        for (int32_t activation = SDN_ACTIVATION_NONE; activation <= SDN_ACTIVATION_GEGLU; ++activation)
            for (const bool bias : {false, true})
                for (const bool residual : {false, true}) {
                    expect_twin({23, 70, 5, 45, activation, bias, residual, storage});
                    expect_twin({40, 450, 0, 6, activation, bias, residual, storage});
                }
}

// With inputs that are rounded already, products of pairs are exact: the limits are those of float32. 15 inputs are no pairs. Halves have
// limits of their own.
TEST_P(Linear, FastPrecision_EqualsTheTwin) {
    for (const int32_t storage : fast_storages(on_cpu())) {
        const auto with = [storage](Case c, int32_t activation = SDN_ACTIVATION_NONE) {
            c.activation = activation, c.storage = storage, c.precision = SDN_PRECISION_FAST;
            return c;
        };
        for (const int64_t columns : {2, 4, 15, 16, 30, 34, 766, 768, 770, 1500})
            for (const int64_t outputs : {1, 8, 9, 17, 40}) expect_twin(with({17, columns, 0, outputs}));
        for (const int64_t columns : {1, 16, 41, 767, 768})
            for (const int64_t columns2 : {1, 3, 24, 769}) expect_twin(with({17, columns, columns2, 33, SDN_ACTIVATION_NONE, true, true}));
        for (int32_t activation = SDN_ACTIVATION_SILU; activation <= SDN_ACTIVATION_GEGLU; ++activation)
            expect_twin(with({40, 900, 0, 45}, activation));
        expect_twin(with({523, 402, 0, 309}));
    }
}

TEST_P(Linear, AnyThreadCount_SameBits) {
    for (const Case& c : {Case{300, 500, 0, 300, SDN_ACTIVATION_SILU, true, true}, Case{33, 1500, 20, 400},
                          Case{128, 450, 0, 200, SDN_ACTIVATION_GEGLU, true, false, SDN_BFLOAT16},
                          Case{128, 1800, 0, 200, SDN_ACTIVATION_NONE, true, false, SDN_BFLOAT16, SDN_PRECISION_FAST},
                          Case{131, 700, 0, 200, SDN_ACTIVATION_NONE, true, false, SDN_FLOAT16, SDN_PRECISION_FAST}}) {
        const Layer layer(c);
        same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device, *layer.weight(device)); }, 1 << 24, c.precision);
    }
}

// The activations over the range of float, as seen through an identity: relative error, since no sum precedes them.
TEST_P(Linear, ActivationOfLargeAndSmall_IsAccurate) {
    std::vector<float> points = {0.0f, 1e-30f, 1e-8f, 20.0f, 87.0f, 100.0f, 1e6f, 1e30f};
    for (float x = 1e-3f; x < 14.0f; x *= 1.01f) points.push_back(x);
    const int64_t count = static_cast<int64_t>(points.size());
    const Device device(GetParam());
    for (const int32_t activation :
         {SDN_ACTIVATION_SILU, SDN_ACTIVATION_GELU, SDN_ACTIVATION_QUICK_GELU, SDN_ACTIVATION_RELU, SDN_ACTIVATION_TANH}) {
        for (const float sign : {1.0f, -1.0f}) {
            const Layer layer({count, 1, 0, 1, activation, false});
            layer.values[0][0] = 1.0f;
            std::vector<Expected> expected;
            for (int64_t i = 0; i < count; ++i) {
                layer.x[i] = sign * points[static_cast<size_t>(i)];
                const double x = static_cast<double>(layer.x[i]), value = activate(x, activation);
                // The machine rounds the exponential's argument, which shows where that is large. Results below 1e-37 may underflow.
                const double argument = activation == SDN_ACTIVATION_GELU ? x * x / 2 : std::fabs(1.702 * x);
                expected.push_back({value, (kActivationRelative + std::fmin(argument, 100.0) * kUnit) * std::fabs(value) + 1e-37});
            }
            EXPECT_TRUE(within_limits(layer.run(device, *layer.weight(device)), expected)) << "activation " << activation;
        }
    }
}

}  // namespace sdn::test
