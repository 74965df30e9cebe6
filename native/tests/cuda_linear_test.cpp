// sdn_linear on a CUDA device in 16 bits, against a scalar twin in float64: every loader, tile and epilogue of cuda/gemm.
#include "tests/narrow.h"

namespace sdn::test {

namespace {

struct Case {
    int64_t rows, columns, columns2, outputs;  // outputs: of out; a geglu weight has twice as many
    int32_t activation = SDN_ACTIVATION_NONE;
    bool bias = true, residual = false;
    int32_t dtype = SDN_FLOAT16, storage = SDN_FLOAT16;
    int64_t misalign = 0;  // bytes

    bool geglu() const { return activation == SDN_ACTIVATION_GEGLU; }
    int64_t inputs() const { return columns + columns2; }
    std::string text() const {
        return "[" + std::to_string(rows) + "," + std::to_string(columns) + "+" + std::to_string(columns2) + "] to " +
               std::to_string(outputs) + ", activation " + std::to_string(activation) + ", bias " + std::to_string(bias) + ", residual " +
               std::to_string(residual) + ", " + dtype_name(dtype) + ", storage " + dtype_name(storage) + ", " + std::to_string(misalign) +
               " bytes off";
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

// Inputs and expectation of one case.
struct Layer {
    Case c;
    Array x, x2, residual;
    std::vector<Array> values, biases;  // of the weight's parts

    explicit Layer(const Case& c_)
        : c(c_),
          x(in_dtype(Array::random({c.rows, c.columns}, 1), c.dtype, c.misalign)),
          x2(in_dtype(Array::random({c.rows, c.columns2}, 2), c.dtype, c.misalign)),
          residual(in_dtype(Array::random({c.rows, c.outputs}, 3), c.dtype, c.misalign)) {
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

    Array run(sdn_device* device, const Weight& w, std::string* kernels = nullptr) const {
        Array out({c.rows, c.outputs}, c.dtype, c.misalign);
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_linear(exec, out(), x(), c.columns2 > 0 ? x2() : nullptr, w, c.residual ? residual() : nullptr, c.activation));
            if (kernels != nullptr) *kernels = last_kernels(exec);
        });
        return out;
    }

    std::vector<Expected> expected(const std::vector<double>& w) const {
        const Array left = in_float32(x), right = in_float32(x2), added = in_float32(residual);
        const auto product = [&](int64_t m, int64_t n) {
            Sum sum;
            for (int64_t k = 0; k < c.inputs(); ++k) {
                const float v = k < c.columns ? left[m * c.columns + k] : right[m * c.columns2 + k - c.columns];
                sum.add(static_cast<double>(v), w[static_cast<size_t>(n * c.inputs() + k)]);
            }
            if (c.bias) sum.add(static_cast<double>(biases[static_cast<size_t>(n / c.outputs)][n % c.outputs]));
            return sum;
        };
        std::vector<Expected> result;
        for (int64_t m = 0; m < c.rows; ++m) {
            for (int64_t n = 0; n < c.outputs; ++n) {
                const Sum sum = product(m, n);
                const double error = kTensorCore * sum.limit();
                double value = activate(sum.value(), c.activation);
                double limit = 1.2 * error;  // no activation is steeper
                double argument = c.activation != SDN_ACTIVATION_NONE ? std::fabs(sum.value()) : 0, factor = 1;
                if (c.geglu()) {
                    const Sum gate = product(m, c.outputs + n);
                    value = sum.value() * gelu(gate.value());
                    limit = std::fabs(gelu(gate.value())) * error + 1.2 * std::fabs(sum.value()) * kTensorCore * gate.limit();
                    argument = std::fabs(gate.value()), factor = std::fabs(sum.value());
                }
                limit += kApproximateActivation * argument * factor;
                if (c.residual) value += static_cast<double>(added[m * c.outputs + n]);
                limit += kUnit * std::fabs(value);
                result.push_back({value, stored_limit(value, limit, c.dtype)});
            }
        }
        return result;
    }
};

constexpr int32_t kNarrow[] = {SDN_FLOAT16, SDN_BFLOAT16};

}  // namespace

class CudaLinear : public EachDevice {
  protected:
    // kernels: what the emulated device, with its 16 multiprocessors, must have run; "": whatever it likes.
    void expect_twin(Case c, const std::string& kernels = "") {
        const Device device(GetParam());
        const Layer layer(c);
        const std::unique_ptr<Weight> w = layer.weight(device);
        std::string ran;
        EXPECT_TRUE(within_limits(in_float32(layer.run(device, *w, &ran)), layer.expected(stored_values(*w)))) << c.text() << " by " << ran;
        if (!kernels.empty() && GetParam() == std::string("cuda:emulated")) {
            EXPECT_EQ(ran, kernels) << c.text();
        }
    }
    void expect_twin_in_both(Case c, const std::string& kernels = "") {
        for (const int32_t dtype : kNarrow) {
            c.dtype = c.storage = dtype;
            expect_twin(c, kernels);
        }
    }
};
SDN_FOR_EACH_CUDA_DEVICE(CudaLinear);

TEST_P(CudaLinear, OddSizes_EqualTheTwin) {
    for (const int64_t rows : {1, 3, 15, 17, 64, 65})
        for (const int64_t outputs : {1, 3, 5, 8, 9, 31, 64, 65}) expect_twin({rows, 40, 0, outputs});
    for (const int64_t columns : {1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 72, 127, 128, 129, 520}) {
        expect_twin({5, columns, 0, 19});
        expect_twin_in_both({67, columns, 0, 40});
    }
}

// Each tile of tuning/tiles.h with one split and with several, with few stages and with many.
TEST_P(CudaLinear, EveryTile_EqualsTheTwin) {
    for (int tile = 0; tile < 5; ++tile)
        for (const int stages : {2, 3, 4}) {
            const std::string choice = std::to_string(tile) + ' ' + std::to_string(stages - 1) + ' ' + std::to_string(stages);
            ASSERT_EQ(setenv("SDN_CUDA_TILE", choice.c_str(), 1), 0);
            expect_twin_in_both({131, 264, 0, 168});
            expect_twin({133, 712, 0, 173, SDN_ACTIVATION_SILU, true, true});
            expect_twin({17, 1000, 0, 200, SDN_ACTIVATION_GEGLU, true, true});
        }
    ASSERT_EQ(unsetenv("SDN_CUDA_TILE"), 0);
}

}  // namespace sdn::test
