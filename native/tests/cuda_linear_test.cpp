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
    for (int tile = 0; tile < 7; ++tile)
        for (const int stages : {2, 3, 4}) {
            const ForcedTile forced(tile, stages - 1, stages);
            expect_twin_in_both({131, 264, 0, 168});
            expect_twin({133, 712, 0, 173, SDN_ACTIVATION_SILU, true, true});
            expect_twin({17, 1000, 0, 200, SDN_ACTIVATION_GEGLU, true, true});
        }
}

TEST_P(CudaLinear, ManyTiles_EqualTheTwin) {
    const ForcedTile forced(6, 1, 2);  // more rows of tiles than a band has
    expect_twin({1100, 40, 0, 130}, "sm80_gemm_64x64x64_rows");
}

// The seam between the inputs on a stage's boundary, within a stage, and within a chunk of 8.
TEST_P(CudaLinear, TwoInputs_EqualTheTwin) {
    const ForcedTile forced(6, 1, 2);
    for (const int64_t columns : {8, 40, 64, 72, 136})
        for (const int64_t columns2 : {8, 24, 64, 200})
            expect_twin({33, columns, columns2, 72, SDN_ACTIVATION_NONE, true, true}, "sm80_gemm_64x64x64_two_source");
    expect_twin_in_both({33, 13, 51, 72, SDN_ACTIVATION_NONE, true, true}, "sm80_gemm_128x64x64_gather");
    expect_twin_in_both({33, 16, 3, 9}, "sm80_gemm_128x64x64_gather");
    expect_twin_in_both({5, 40, 88, 33, SDN_ACTIVATION_NONE, true, true}, "few_rows");
    expect_twin_in_both({70, 40, 88, 3, SDN_ACTIVATION_NONE, true, true}, "few_columns");
}

// Activation, bias and residual behind each mainloop, stored in chunks and, with a width that is not a multiple of 8, one by one.
TEST_P(CudaLinear, EveryFusion_EqualsTheTwin) {
    for (int32_t activation = SDN_ACTIVATION_NONE; activation <= SDN_ACTIVATION_GEGLU; ++activation)
        for (const bool bias : {false, true})
            for (const bool residual : {false, true}) {
                const ForcedTile forced(6, 4, 2);
                expect_twin_in_both({23, 56, 0, 48, activation, bias, residual}, "sm80_gemm_64x64x64_rows");
                expect_twin_in_both({23, 56, 0, 45, activation, bias, residual}, "sm80_gemm_64x64x64_rows");
                expect_twin_in_both({23, 50, 5, 24, activation, bias, residual}, "sm80_gemm_128x64x64_gather");
                expect_twin_in_both({11, 72, 0, 45, activation, bias, residual}, "few_rows");
                expect_twin_in_both({37, 72, 0, activation == SDN_ACTIVATION_GEGLU ? 2 : 3, activation, bias, residual}, "few_columns");
                expect_twin_in_both({23, 200, 0, 48, activation, bias, residual}, "sm80_gemm_64x64x64_split4_rows + sm80_split_sum");
                expect_twin_in_both({23, 200, 0, 45, activation, bias, residual}, "sm80_gemm_64x64x64_split4_rows + sm80_split_sum");
            }
}

TEST_P(CudaLinear, Misaligned_EqualsTheTwin) {
    for (const int64_t misalign : {2, 4, 8})
        for (const int64_t rows : {5, 70})
            for (const int64_t outputs : {3, 64}) {
                Case c{rows, 200, 24, outputs, SDN_ACTIVATION_SILU, true, true};
                c.misalign = misalign;
                expect_twin_in_both(c);
            }
    const ForcedTile forced(0, 2, 2);
    Case c{70, 200, 0, 64, SDN_ACTIVATION_GEGLU, true, true};
    c.misalign = 2;
    expect_twin_in_both(c, "sm80_gemm_128x64x64_split2_gather + sm80_split_sum");
}

// Weights may be stored in another dtype than the activations have.
TEST_P(CudaLinear, MixedDtypes_EqualTheTwin) {
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
        for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
            if (dtype == storage && dtype != SDN_FLOAT32) continue;
            Case c{19, 72, 24, 40, SDN_ACTIVATION_GELU, true, true};
            c.dtype = dtype, c.storage = storage;
            expect_twin(c, "simt_gemm_64x64x16");
        }
}

TEST_P(CudaLinear, AnyOrderOfBlocks_SameBits) {
    for (const int tile : {1, 6})
        for (const Case& c : {Case{150, 400, 40, 200, SDN_ACTIVATION_SILU, true, true}, Case{9, 520, 0, 70}, Case{70, 520, 0, 3}}) {
            const ForcedTile forced(tile, 3, 3);
            const Layer layer(c);
            same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device, *layer.weight(device)); });
        }
}

// The approximations behind the tensor cores over the range of their arguments, as seen through an identity.
TEST_P(CudaLinear, ActivationOfLargeAndSmall_IsAccurate) {
    std::vector<float> points = {0.0f, 1e-6f, 1e-4f, 20.0f, 87.0f, 100.0f, 1e4f, 6e4f};
    for (float x = 1e-3f; x < 14.0f; x *= 1.02f) points.push_back(x);
    const int64_t count = static_cast<int64_t>(points.size());
    const Device device(GetParam());
    for (const int32_t dtype : kNarrow)
        for (const int32_t activation : {SDN_ACTIVATION_SILU, SDN_ACTIVATION_GELU, SDN_ACTIVATION_QUICK_GELU, SDN_ACTIVATION_GEGLU,
                                         SDN_ACTIVATION_RELU, SDN_ACTIVATION_TANH})
            for (const float sign : {1.0f, -1.0f}) {
                Case c{count, 8, 0, 1, activation, false};
                if (activation != SDN_ACTIVATION_GEGLU) c.outputs = 8;  // not the mainloop of few columns
                c.dtype = c.storage = dtype;
                Layer layer(c);
                for (size_t part = 0; part < layer.values.size(); ++part) layer.values[part].fill(0);
                for (int64_t n = 0; n < c.outputs; ++n) layer.values.back()[n * 8] = 1;
                if (c.geglu()) layer.values[0][1] = 1;  // value: column 1, which is 1
                Array x({count, 8});
                x.fill(0);
                for (int64_t i = 0; i < count; ++i) x[i * 8] = sign * points[static_cast<size_t>(i)], x[i * 8 + 1] = 1;
                const Array stored = in_dtype(x, dtype);
                std::copy_n(stored.as<uint16_t>(), stored.size(), layer.x.as<uint16_t>());
                const std::unique_ptr<Weight> w = layer.weight(device);
                EXPECT_TRUE(within_limits(in_float32(layer.run(device, *w)), layer.expected(stored_values(*w)))) << c.text();
            }
}

}  // namespace sdn::test
