#include <cmath>

#include "tests/support.h"

namespace sdn::test {

namespace {

double twin(double x, int activation) {
    switch (activation) {
        case SDN_ACTIVATION_SILU:
            return x / (1 + std::exp(-x));
        case SDN_ACTIVATION_GELU:
            return x * std::erfc(-x / std::sqrt(2.0)) / 2;
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

constexpr int kActivations[] = {SDN_ACTIVATION_NONE,       SDN_ACTIVATION_SILU, SDN_ACTIVATION_GELU,
                                SDN_ACTIVATION_QUICK_GELU, SDN_ACTIVATION_RELU, SDN_ACTIVATION_TANH};

}  // namespace

class Activation : public EachDevice {};
SDN_FOR_EACH_DEVICE(Activation);

TEST_P(Activation, OddSizes_EqualTheTwin) {
    for (const int activation : kActivations)
        for (const Shape& shape :
             {Shape{1}, Shape{7}, Shape{15}, Shape{16}, Shape{17}, Shape{3, 31}, Shape{2, 3, 5, 7}, Shape{8193}, Shape{3, 20011}})
            for (const int64_t misalign : {0, 4}) {
                const Array x = Array::random(shape, 1, -9, 9, misalign);
                std::vector<double> expected;
                for (int64_t i = 0; i < x.size(); ++i) expected.push_back(twin(static_cast<double>(x[i]), activation));
                const Array out = same_for_any_threads([&](sdn_device*, sdn_exec* exec) {
                    Array result(shape, SDN_FLOAT32, misalign);
                    ok(sdn_activation(exec, result(), x(), activation));
                    return result;
                });
                EXPECT_TRUE(each_close_to(out, expected, kActivationRelative, kActivationAbsolute)) << "activation " << activation;
            }
}

TEST_P(Activation, ExtremeValues_StayFiniteAndNanStaysNan) {
    const Device device(GetParam());
    const Exec exec(device);
    const Array x = Array::of({9}, {0.0f, -0.0f, 1e-38f, 100.0f, -100.0f, 3e38f, -3e38f, 1e-45f, NAN});
    for (const int activation : kActivations) {
        const Array out({9});
        ok(sdn_activation(exec, out(), x(), activation));
        for (int64_t i = 0; i < 8; ++i) {
            EXPECT_TRUE(std::isfinite(out[i])) << "activation " << activation << " of " << x[i];
            const double expected = twin(static_cast<double>(x[i]), activation);
            EXPECT_NEAR(static_cast<double>(out[i]), expected, kActivationRelative * std::fabs(expected) + kActivationAbsolute);
        }
        EXPECT_TRUE(std::isnan(out[8])) << "activation " << activation;
    }
}

TEST_P(Activation, InPlace_EqualsOutOfPlace) {
    const Device device(GetParam());
    const Exec exec(device);
    for (const int activation : kActivations) {
        const Array x = Array::random({1013}, 1, -5, 5), out({1013});
        ok(sdn_activation(exec, out(), x(), activation));
        ok(sdn_activation(exec, x(), x(), activation));
        EXPECT_TRUE(identical(out, x));
    }
}

TEST(ActivationErrors, BadArguments_NameThem) {
    const Device device("cpu:portable");
    const Exec exec(device);
    const Array x({6}), out({5}), bytes({6}, SDN_UINT8);
    expect_error(sdn_activation(exec, out(), x(), 1), SDN_ERROR_SHAPE, {"sdn_activation", "out is [5]", "x is [6]"});
    expect_error(sdn_activation(exec, x(), x(), SDN_ACTIVATION_GEGLU), SDN_ERROR_INVALID_ARGUMENT, {"activation is 4"});
    expect_error(sdn_activation(exec, x(), x(), SDN_ACTIVATION_TANH + 1), SDN_ERROR_INVALID_ARGUMENT, {"activation is 7"});
    expect_error(sdn_activation(exec, bytes(), x(), 1), SDN_ERROR_SHAPE, {"out is uint8, must be float32"});
    sdn_tensor late = dense_view(x.floats() + 1, {5});
    const sdn_tensor early = dense_view(x.floats(), {5});
    expect_error(sdn_activation(exec, &late, &early, 1), SDN_ERROR_INVALID_ARGUMENT, {"overlap"});
    late.rank = 5;
    expect_error(sdn_activation(exec, &late, &early, 1), SDN_ERROR_SHAPE, {"rank 5"});
    late.rank = 1, late.shape[0] = 0;
    expect_error(sdn_activation(exec, &late, &early, 1), SDN_ERROR_SHAPE, {"out is [0]"});
    late.shape[0] = 5, late.dtype = 17;
    expect_error(sdn_activation(exec, &late, &early, 1), SDN_ERROR_INVALID_ARGUMENT, {"dtype 17"});
    late.dtype = SDN_FLOAT32, late.data = nullptr;
    expect_error(sdn_activation(exec, &late, &early, 1), SDN_ERROR_INVALID_ARGUMENT, {"out has no data"});
}

}  // namespace sdn::test
