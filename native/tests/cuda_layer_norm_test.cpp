// sdn_layer_norm and sdn_activation on a CUDA device in 16 bits, against scalar twins in float64.
#include "tests/narrow.h"

namespace sdn::test {

namespace {

constexpr int32_t kDtypes[] = {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16};
constexpr double kEps = 1e-5;

struct Case {
    int64_t rows, channels;
    float offset = 0.5f;
    int64_t misalign = 0;
};

struct Layer {
    Case c;
    Array x, scale, shift;

    Layer(const Case& c_, int32_t dtype)
        : c(c_),
          x(in_dtype(Array::random({c.rows, c.channels}, 1, c.offset - 1.7f, c.offset + 1.7f), dtype, c.misalign)),
          scale(Array::random({c.channels}, 2)),
          shift(Array::random({c.channels}, 3)) {}

    Array run(sdn_device* device, std::string* kernels = nullptr) const {
        Array out(x.shape(), x.view().dtype, c.misalign);
        const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_layer_norm(exec, out(), x(), weight, static_cast<float>(kEps)));
            if (kernels != nullptr) *kernels = last_kernels(exec);
        });
        return out;
    }

    std::vector<Expected> expected() const {
        const Array values = in_float32(x);
        std::vector<Expected> result;
        for (int64_t r = 0; r < c.rows; ++r) {
            const float* row = values.floats() + r * c.channels;
            const double count = static_cast<double>(c.channels);
            double sum = 0, squares = 0;
            for (int64_t i = 0; i < c.channels; ++i) sum += static_cast<double>(row[i]);
            const double mean = sum / count;
            for (int64_t i = 0; i < c.channels; ++i) squares += std::pow(static_cast<double>(row[i]) - mean, 2);
            const double deviation = std::sqrt(squares / count + kEps);
            for (int64_t i = 0; i < c.channels; ++i) {
                const double normal = (static_cast<double>(row[i]) - mean) / deviation, factor = static_cast<double>(scale[i]);
                const double value = normal * factor + static_cast<double>(shift[i]);
                const double error = norm_limit(std::fabs(mean) / deviation) *
                                     (std::fabs(factor) * std::max(1.0, std::fabs(normal)) + std::fabs(static_cast<double>(shift[i])));
                result.push_back({value, stored_limit(value, error, x.view().dtype)});
            }
        }
        return result;
    }
};

}  // namespace

class CudaLayerNorm : public EachDevice {
  protected:
    void expect_twin(const Case& c, const std::string& kernels) {
        const Device device(GetParam());
        for (const int32_t dtype : kDtypes) {
            const Layer layer(c, dtype);
            std::string ran;
            EXPECT_TRUE(within_limits(in_float32(layer.run(device, &ran)), layer.expected()))
                << text_of({c.rows, c.channels}) << ", offset " << c.offset << ", " << c.misalign << " bytes off, " << dtype_name(dtype);
            EXPECT_EQ(ran, kernels) << text_of({c.rows, c.channels}) << ", " << dtype_name(dtype);
        }
    }
};
SDN_FOR_EACH_CUDA_DEVICE(CudaLayerNorm);

TEST_P(CudaLayerNorm, RowsInRegisters_EqualTheTwin) {
    for (const int64_t channels : {8, 16, 64, 248, 256, 264, 320, 640, 768, 1024, 1280})
        expect_twin({5, channels}, "sm80_layer_norm_in_registers");
    expect_twin({1031, 16}, "sm80_layer_norm_in_registers");
    expect_twin({4, 320, 1000}, "sm80_layer_norm_in_registers");
}

TEST_P(CudaLayerNorm, LongAndOddRows_EqualTheTwin) {
    for (const int64_t channels : {1, 7, 33, 257, 1281, 5000}) expect_twin({3, channels}, "sm80_layer_norm_two_pass");
    expect_twin({3, 320, 0.5f, 4}, "sm80_layer_norm_two_pass");
    expect_twin({3, 999, 1000}, "sm80_layer_norm_two_pass");
}

TEST_P(CudaLayerNorm, AnyOrderOfBlocks_SameBits) {
    for (const Case& c : {Case{300, 64}, Case{20, 999}}) {
        const Layer layer(c, SDN_BFLOAT16);
        same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device); });
    }
}

class CudaActivation : public EachDevice {};
SDN_FOR_EACH_CUDA_DEVICE(CudaActivation);

TEST_P(CudaActivation, EveryDtype_EqualsTheTwin) {
    const auto twin = [](double x, int32_t kind) {
        if (kind == SDN_ACTIVATION_SILU) return x / (1 + std::exp(-x));
        if (kind == SDN_ACTIVATION_GELU) return x * std::erfc(-x / std::sqrt(2.0)) / 2;
        if (kind == SDN_ACTIVATION_QUICK_GELU) return x / (1 + std::exp(-1.702 * x));
        if (kind == SDN_ACTIVATION_RELU) return x < 0 ? 0 : x;
        if (kind == SDN_ACTIVATION_TANH) return std::tanh(x);
        return x;
    };
    const Device device(GetParam());
    const Exec exec(device);
    for (const int32_t dtype : kDtypes)
        for (const int64_t count : {1, 7, 8, 9, 2047, 20011})
            for (const int64_t misalign : {0, 4})
                for (const int32_t kind : {SDN_ACTIVATION_NONE, SDN_ACTIVATION_SILU, SDN_ACTIVATION_GELU, SDN_ACTIVATION_QUICK_GELU,
                                           SDN_ACTIVATION_RELU, SDN_ACTIVATION_TANH}) {
                    const Array x = in_dtype(Array::random({count}, 1, -9, 9), dtype, misalign), wide = in_float32(x);
                    const Array out(x.shape(), dtype, misalign);
                    ok(sdn_activation(exec, out(), x(), kind));
                    ok(sdn_activation(exec, x(), x(), kind));
                    ok(sdn_exec_synchronize(exec));
                    std::vector<Expected> expected;
                    for (int64_t i = 0; i < count; ++i) {
                        const double value = twin(static_cast<double>(wide[i]), kind);
                        expected.push_back(
                            {value, stored_limit(value, kActivationRelative * std::fabs(value) + kActivationAbsolute, dtype)});
                    }
                    EXPECT_TRUE(within_limits(in_float32(out), expected)) << "activation " << kind << ", " << dtype_name(dtype);
                    EXPECT_TRUE(identical(out, x)) << "in place: activation " << kind << ", " << dtype_name(dtype);
                }
}

}  // namespace sdn::test
