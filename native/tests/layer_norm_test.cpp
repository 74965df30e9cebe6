#include <cmath>

#include "tests/support.h"

namespace sdn::test {

namespace {

std::vector<double> twin(const Array& x, int64_t channels, const Array& scale, const Array& shift, double eps) {
    std::vector<double> out;
    for (int64_t row = 0; row < x.size() / channels; ++row) {
        const float* values = x.floats() + row * channels;
        double sum = 0, squares = 0;
        for (int64_t c = 0; c < channels; ++c) sum += static_cast<double>(values[c]);
        const double mean = sum / static_cast<double>(channels);
        for (int64_t c = 0; c < channels; ++c) squares += std::pow(static_cast<double>(values[c]) - mean, 2);
        const double inverse = 1 / std::sqrt(squares / static_cast<double>(channels) + eps);
        for (int64_t c = 0; c < channels; ++c)
            out.push_back((static_cast<double>(values[c]) - mean) * inverse * static_cast<double>(scale[c]) +
                          static_cast<double>(shift[c]));
    }
    return out;
}

}  // namespace

class LayerNorm : public EachDevice {};
SDN_FOR_EACH_DEVICE(LayerNorm);

TEST_P(LayerNorm, OddSizes_EqualTheTwin) {
    const Shape shapes[] = {{1},     {2},          {7},           {15},       {16},         {17},       {3, 31},
                            {5, 33}, {2, 77, 768}, {1, 1, 1, 64}, {101, 320}, {2, 13, 127}, {3, 20000}, {2, 3, 5, 41}};
    for (const Shape& shape : shapes)
        for (const int64_t misalign : {0, 4}) {
            const int64_t channels = shape.back();
            const Array x = Array::random(shape, 1, -1, 3, misalign), scale = Array::random({channels}, 2, -1, 1, misalign),
                        shift = Array::random({channels}, 3);
            const Array out = same_for_any_threads([&](sdn_device* device, sdn_exec* exec) {
                Array result(shape, SDN_FLOAT32, misalign);
                const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
                ok(sdn_layer_norm(exec, result(), x(), weight, 1e-5f));
                return result;
            });
            EXPECT_TRUE(close_to(out, twin(x, channels, scale, shift, 1e-5), norm_limit(4))) << "misaligned by " << misalign;
        }
}

TEST_P(LayerNorm, LargeOffset_KeepsTheVariance) {
    const Array x = Array::random({4, 320}, 1, 999, 1001), scale = Array::random({320}, 2), shift = Array::random({320}, 3);
    const Array out = same_for_any_threads([&](sdn_device* device, sdn_exec* exec) {
        Array result({4, 320});
        const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
        ok(sdn_layer_norm(exec, result(), x(), weight, 1e-5f));
        return result;
    });
    EXPECT_TRUE(close_to(out, twin(x, 320, scale, shift, 1e-5), norm_limit(1000 / 0.577)));
}

TEST(LayerNormErrors, BadArguments_NameThem) {
    const Device device("cpu:portable");
    const Exec exec(device);
    const Array x({3, 6}), out({3, 6}), other({3, 5}), scale({6}), matrix({6, 6});
    const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&scale}), wrong(device, SDN_WEIGHT_MATRIX, {&matrix}, {});
    expect_error(sdn_layer_norm(exec, other(), x(), weight, 0), SDN_ERROR_SHAPE, {"sdn_layer_norm", "out is [3,5]", "x is [3,6]"});
    expect_error(sdn_layer_norm(exec, other(), other(), weight, 0), SDN_ERROR_SHAPE, {"weight has 6 channels"});
    expect_error(sdn_layer_norm(exec, out(), x(), wrong, 0), SDN_ERROR_INVALID_ARGUMENT, {"is a matrix weight", "must be a norm weight"});
    expect_error(sdn_layer_norm(exec, out(), x(), weight, NAN), SDN_ERROR_INVALID_ARGUMENT, {"eps"});
    expect_error(sdn_layer_norm(exec, x(), x(), weight, 0), SDN_ERROR_INVALID_ARGUMENT, {"overlap"});
}

}  // namespace sdn::test
