#include <cmath>

#include "tests/support.h"

namespace sdn::test {

namespace {

// Group normalisation by its definition, over [B, rows, C].
std::vector<double> twin(const std::vector<double>& x, int64_t batch, int64_t rows, int64_t channels, int64_t groups, const Array& scale,
                         const Array& shift, double eps, bool silu) {
    std::vector<double> out(x.size());
    const int64_t size = channels / groups;
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t g = 0; g < groups; ++g) {
            double sum = 0, squares = 0;
            const auto each = [&](auto&& body) {
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = g * size; c < (g + 1) * size; ++c) body(static_cast<size_t>((b * rows + r) * channels + c), c);
            };
            each([&](size_t i, int64_t) { sum += x[i]; });
            const double mean = sum / static_cast<double>(rows * size);
            each([&](size_t i, int64_t) { squares += (x[i] - mean) * (x[i] - mean); });
            const double inverse = 1 / std::sqrt(squares / static_cast<double>(rows * size) + eps);
            each([&](size_t i, int64_t c) {
                const double y = (x[i] - mean) * inverse * static_cast<double>(scale[c]) + static_cast<double>(shift[c]);
                out[i] = silu ? y / (1 + std::exp(-y)) : y;
            });
        }
    return out;
}

struct Case {
    int64_t batch, height, width, channels, second_channels, groups;
    int64_t misalign = 0;
};

void PrintTo(const Case& c, std::ostream* out) {
    *out << text_of({c.batch, c.height, c.width, c.channels}) << " + " << c.second_channels << " channels, " << c.groups << " groups";
}

}  // namespace

class GroupNorm : public EachDevice {};
SDN_FOR_EACH_DEVICE(GroupNorm);

TEST_P(GroupNorm, OddSizes_EqualTheTwin) {
    const Case cases[] = {
        {1, 1, 1, 1, 0, 1},    {1, 1, 1, 32, 0, 32},      {2, 3, 5, 7, 0, 7},      {2, 3, 5, 7, 0, 1},
        {1, 4, 4, 15, 0, 5},   {3, 5, 7, 34, 0, 17},      {1, 2, 3, 17, 0, 1, 4},  {1, 9, 1, 33, 0, 3, 12},
        {1, 64, 61, 32, 0, 8}, {1, 31, 37, 320, 0, 32},   {2, 3, 3, 20, 40, 12},   {1, 7, 5, 40, 20, 12, 4},
        {1, 3, 3, 1, 2, 1},    {2, 16, 16, 640, 320, 32}, {1, 67, 64, 96, 32, 32}, {1, 1, 2, 40000, 0, 8},
    };
    for (const Case& c : cases)
        for (const bool silu : {false, true}) {
            const int64_t channels = c.channels + c.second_channels, rows = c.height * c.width;
            const Array x = Array::random({c.batch, c.height, c.width, c.channels}, 1, -1, 2, c.misalign);
            const Array x2 = Array::random({c.batch, c.height, c.width, std::max<int64_t>(c.second_channels, 1)}, 2, -3, 1, c.misalign);
            const Array scale = Array::random({channels}, 3), shift = Array::random({channels}, 4);
            std::vector<double> joined;
            for (int64_t r = 0; r < c.batch * rows; ++r) {
                for (int64_t i = 0; i < c.channels; ++i) joined.push_back(static_cast<double>(x[r * c.channels + i]));
                for (int64_t i = 0; i < c.second_channels; ++i) joined.push_back(static_cast<double>(x2[r * c.second_channels + i]));
            }
            const std::vector<double> expected = twin(joined, c.batch, rows, channels, c.groups, scale, shift, 1e-5, silu);
            const Array out = same_for_any_threads([&](sdn_device* device, sdn_exec* exec) {
                Array result({c.batch, c.height, c.width, channels}, SDN_FLOAT32, c.misalign);
                const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
                ok(sdn_group_norm(exec, result(), x(), c.second_channels > 0 ? x2() : nullptr, weight, static_cast<int32_t>(c.groups),
                                  1e-5f, silu ? SDN_ACTIVATION_SILU : SDN_ACTIVATION_NONE));
                return result;
            });
            EXPECT_TRUE(close_to(out, expected, norm_limit(4))) << ::testing::PrintToString(c) << (silu ? " silu" : "");
        }
}

// A mean a thousand times the deviation: the one-pass formula E[x^2] - E[x]^2 would have nothing left.
TEST_P(GroupNorm, LargeOffset_KeepsTheVariance) {
    const Array x = Array::random({1, 40, 50, 24}, 5, 999, 1001), scale = Array::random({24}, 6), shift = Array::random({24}, 7);
    const std::vector<double> values(x.floats(), x.floats() + x.size());
    const std::vector<double> expected = twin(values, 1, 2000, 24, 4, scale, shift, 1e-6, false);
    const Array out = same_for_any_threads([&](sdn_device* device, sdn_exec* exec) {
        Array result({1, 40, 50, 24});
        const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
        ok(sdn_group_norm(exec, result(), x(), nullptr, weight, 4, 1e-6f, SDN_ACTIVATION_NONE));
        return result;
    });
    EXPECT_TRUE(close_to(out, expected, norm_limit(1000 / 0.577)));
}

TEST_P(GroupNorm, ConstantInput_GivesTheShift) {
    Array x({2, 3, 3, 8});
    x.fill(3);
    const Array scale = Array::random({8}, 1), shift = Array::random({8}, 2);
    const Device device(GetParam());
    const Exec exec(device);
    const Array out({2, 3, 3, 8});
    const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
    ok(sdn_group_norm(exec, out(), x(), nullptr, weight, 2, 1e-5f, SDN_ACTIVATION_NONE));
    std::vector<double> expected;
    for (int64_t i = 0; i < out.size(); ++i) expected.push_back(static_cast<double>(shift[i % 8]));
    EXPECT_TRUE(each_close_to(out, expected, kOneRounding));
}

TEST(GroupNormErrors, BadArguments_NameThem) {
    const Device device("cpu:portable");
    const Exec exec(device);
    const Array x({1, 2, 2, 6}), x2({1, 2, 1, 6}), out({1, 2, 2, 6}), wide({1, 2, 2, 8}), six({6}), four({4});
    const Weight weight(device, SDN_WEIGHT_NORM, {&six}, {&six}), small(device, SDN_WEIGHT_NORM, {&four}, {&four});
    const auto run = [&](const Array& o, const Array* second, const Weight& w, int groups, float eps, int activation) {
        return sdn_group_norm(exec, o(), x(), second != nullptr ? (*second)() : nullptr, w, groups, eps, activation);
    };
    expect_error(run(out, nullptr, weight, 4, 0, 0), SDN_ERROR_SHAPE, {"sdn_group_norm", "4 groups", "[1,2,2,6]"});
    expect_error(run(out, nullptr, weight, 0, 0, 0), SDN_ERROR_SHAPE, {"0 groups"});
    expect_error(run(wide, nullptr, weight, 2, 0, 0), SDN_ERROR_SHAPE, {"out is [1,2,2,8]", "x is [1,2,2,6]"});
    expect_error(run(out, nullptr, small, 2, 0, 0), SDN_ERROR_SHAPE, {"weight has 4 channels"});
    expect_error(run(out, &x2, weight, 2, 0, 0), SDN_ERROR_SHAPE, {"x2 is [1,2,1,6]"});
    expect_error(run(out, nullptr, weight, 2, -1, 0), SDN_ERROR_INVALID_ARGUMENT, {"eps is -1"});
    expect_error(run(out, nullptr, weight, 2, 0, SDN_ACTIVATION_GELU), SDN_ERROR_INVALID_ARGUMENT, {"activation is 2"});
    expect_error(run(x, nullptr, weight, 2, 0, 0), SDN_ERROR_INVALID_ARGUMENT, {"overlap", "x"});
    expect_error(sdn_group_norm(exec, out(), x(), nullptr, nullptr, 2, 0, 0), SDN_ERROR_INVALID_ARGUMENT, {"weight is NULL"});
}

}  // namespace sdn::test
