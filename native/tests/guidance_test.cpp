// dynamic_threshold, rescale_guidance.
#include <algorithm>
#include <cmath>

#include "tests/support.h"

namespace sdn::test {

namespace {

// numpy's and torch's linear quantile, from its definition.
double quantile(std::vector<double> values, double ratio) {
    std::sort(values.begin(), values.end());
    const double rank = ratio * static_cast<double>(values.size() - 1);
    const size_t below = static_cast<size_t>(rank), above = std::min(below + 1, values.size() - 1);
    return values[below] + (rank - static_cast<double>(below)) * (values[above] - values[below]);
}

double deviation(const float* x, int64_t count) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]);
    const double mean = sum / static_cast<double>(count);
    for (int64_t i = 0; i < count; ++i) squares += std::pow(static_cast<double>(x[i]) - mean, 2);
    return std::sqrt(squares / static_cast<double>(count - 1));
}

Array with_threads(int threads, const std::function<Array(sdn_exec*)>& compute) {
    const Device device("cpu", threads);
    const Exec exec(device);
    Array result = compute(exec);
    EXPECT_EQ(exec.stats().live_bytes, 0);
    return result;
}

}  // namespace

TEST(DynamicThreshold, OddSizes_EqualTheTwin) {
    for (const Shape& shape : {Shape{1}, Shape{1, 1}, Shape{3, 2}, Shape{2, 4, 5, 7}, Shape{2, 100, 41}, Shape{1, 64, 64, 4}})
        for (const float ratio : {0.0f, 0.5f, 0.9f, 0.995f, 1.0f})
            for (const float max_value : {1.0f, 1.5f, 100.0f}) {
                const Array x = Array::random(shape, 7, -4, 4);
                const int64_t count = x.size() / shape[0];
                std::vector<double> expected;
                for (int64_t b = 0; b < shape[0]; ++b) {
                    std::vector<double> magnitudes;
                    for (int64_t i = 0; i < count; ++i) magnitudes.push_back(std::fabs(static_cast<double>(x[b * count + i])));
                    const double s =
                        std::min(std::max(quantile(magnitudes, static_cast<double>(ratio)), 1.0), static_cast<double>(max_value));
                    for (int64_t i = 0; i < count; ++i) expected.push_back(std::clamp(static_cast<double>(x[b * count + i]), -s, s) / s);
                }
                const auto run = [&](sdn_exec* exec) {
                    Array out(shape);
                    ok(sdn_dynamic_threshold(exec, out(), x(), ratio, max_value));
                    return out;
                };
                const Array out = with_threads(1, run);
                EXPECT_TRUE(identical(out, with_threads(5, run)));
                // The rank is a float32 product as in torch: an error of half a unit of the count, times the gap between neighbours.
                EXPECT_TRUE(close_to(out, expected, kFewRoundings + 2 * kUnit * static_cast<double>(count)))
                    << "ratio " << ratio << " max " << max_value;
            }
}

TEST(DynamicThreshold, InPlaceAndNan_AreHandled) {
    const Device device("cpu");
    const Exec exec(device);
    const Array x = Array::random({2, 50}, 1, -4, 4), out({2, 50});
    x[60] = NAN;
    ok(sdn_dynamic_threshold(exec, out(), x(), 0.9f, 2));
    ok(sdn_dynamic_threshold(exec, x(), x(), 0.9f, 2));
    for (int64_t i = 0; i < 50; ++i) EXPECT_EQ(out[i], x[i]);
    for (int64_t i = 50; i < 100; ++i) EXPECT_TRUE(std::isnan(out[i])) << i;  // so that it is noticed
    expect_error(sdn_dynamic_threshold(exec, out(), x(), 1.5f, 2), SDN_ERROR_INVALID_ARGUMENT, {"sdn_dynamic_threshold", "ratio is 1.5"});
    expect_error(sdn_dynamic_threshold(exec, out(), x(), 0.5f, 0), SDN_ERROR_INVALID_ARGUMENT, {"max_value is 0"});
}

TEST(RescaleGuidance, OddSizes_EqualTheTwin) {
    for (const Shape& shape : {Shape{1, 2}, Shape{3, 17}, Shape{2, 5, 7, 4}, Shape{2, 100, 411}})
        for (const float factor : {0.0f, 0.7f, 1.0f}) {
            const Array guided = Array::random(shape, 1, -3, 5), cond = Array::random(shape, 2, -1, 1);
            const int64_t count = guided.size() / shape[0];
            std::vector<double> expected;
            for (int64_t b = 0; b < shape[0]; ++b) {
                const double ratio = deviation(cond.floats() + b * count, count) / deviation(guided.floats() + b * count, count);
                for (int64_t i = b * count; i < (b + 1) * count; ++i) {
                    const double g = static_cast<double>(guided[i]), f = static_cast<double>(factor);
                    expected.push_back(f * g * ratio + (1 - f) * g);
                }
            }
            const auto run = [&](sdn_exec* exec) {
                Array out(shape);
                ok(sdn_rescale_guidance(exec, out(), guided(), cond(), factor));
                return out;
            };
            const Array out = with_threads(1, run);
            EXPECT_TRUE(identical(out, with_threads(5, run)));
            EXPECT_TRUE(each_close_to(out, expected, kFewRoundings)) << "factor " << factor;
        }
}

TEST(RescaleGuidance, BadArguments_NameThem) {
    const Device device("cpu");
    const Exec exec(device);
    const Array guided({2, 3}), cond({2, 4}), single({2, 1}), other({2, 1}), out({2, 1});
    expect_error(sdn_rescale_guidance(exec, guided(), guided(), cond(), 0.5f), SDN_ERROR_SHAPE,
                 {"sdn_rescale_guidance", "cond is [2,4]", "guided is [2,3]"});
    expect_error(sdn_rescale_guidance(exec, out(), single(), other(), 0.5f), SDN_ERROR_SHAPE, {"at least 2 elements"});
    expect_error(sdn_rescale_guidance(exec, guided(), guided(), guided(), 0.5f), SDN_ERROR_INVALID_ARGUMENT, {"overlap", "cond"});
}

}  // namespace sdn::test
