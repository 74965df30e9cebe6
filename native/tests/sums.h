// Expectations of the ops that sum products: each output with its own limit.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "tests/support.h"
#include "tests/tolerances.h"

namespace sdn::test {

constexpr int64_t kMisaligned = 4;  // bytes

struct Expected {
    double value, limit;
};

// A sum of K products in float64, and how far float32 may be from it: each of K additions rounds a partial sum, which by Cauchy and
// Schwarz is at most sqrt(K * sum of squares), and the roundings add up like a random walk. 4 of its standard deviations.
class Sum {
  public:
    void add(double a, double b = 1) {
        value_ += a * b;
        squares_ += a * b * a * b;
        ++count_;
    }
    double value() const { return value_; }
    double limit() const { return 4 * kUnit * std::sqrt(static_cast<double>(count_) * squares_); }
    double root_of_squares() const { return std::sqrt(squares_); }
    // The same where products are of float16 and up to `chain` are added in it: each addition rounds its partial sum, and each input is
    // rounded once.
    double limit_in_halves(int64_t chain = 64) const {
        return limit() + 4 * kFloat16Unit * (std::sqrt(static_cast<double>(chain)) + 1) * root_of_squares();
    }

  private:
    double value_ = 0, squares_ = 0;
    int64_t count_ = 0;
};

// Whether the device multiplies in float16 beside weights stored in a dtype.
inline bool multiplies_halves(const sdn_device* device, int32_t storage) {
    sdn_device_info info{};
    ok(sdn_device_get_info(device, &info));
    return info.product_dtype == SDN_FLOAT16 && (storage == SDN_FLOAT16 || storage == SDN_BFLOAT16);
}

// The storages whose products fast precision may compute otherwise; CUDA devices, which take no notice, have tests of their own.
inline std::vector<int32_t> fast_storages(bool on_cpu) {
    return on_cpu ? std::vector<int32_t>{SDN_BFLOAT16, SDN_FLOAT16} : std::vector<int32_t>{SDN_BFLOAT16};
}

// Rounds every element to nearest even, to what dtype can hold.
inline void round_to(const Array& values, int32_t dtype) {
    for (int64_t i = 0; i < values.size(); ++i) {
        if (dtype == SDN_FLOAT16) values[i] = float_from_half(half_from_float(values[i]));
        if (dtype == SDN_BFLOAT16) values[i] = float_from_bfloat16(bfloat16_from_float(values[i]));
    }
}

inline ::testing::AssertionResult within_limits(const Array& got, const std::vector<Expected>& expected) {
    if (got.size() != static_cast<int64_t>(expected.size()))
        return ::testing::AssertionFailure() << text_of(got.shape()) << " but " << expected.size() << " expected values";
    for (int64_t i = 0; i < got.size(); ++i) {
        const Expected& e = expected[static_cast<size_t>(i)];
        const double error = std::fabs(static_cast<double>(got[i]) - e.value);
        if (!(error <= e.limit))
            return ::testing::AssertionFailure() << text_of(got.shape()) << ", element " << i << ": got " << got[i] << ", expected "
                                                 << e.value << ", error over limit " << error / e.limit;
    }
    return ::testing::AssertionSuccess();
}

// What a weight holds after rounding to its storage, row-major [rows, columns].
inline std::vector<double> stored_values(const Weight& weight) {
    const sdn_weight_info info = weight.info();
    const Array stored({info.rows, info.columns}, info.storage);
    ok(sdn_weight_unpack(weight, stored.data(), nullptr));
    std::vector<double> values;
    for (int64_t i = 0; i < stored.size(); ++i) {
        const float value = info.storage == SDN_FLOAT32   ? stored[i]
                            : info.storage == SDN_FLOAT16 ? float_from_half(stored.as<uint16_t>()[i])
                                                          : float_from_bfloat16(stored.as<uint16_t>()[i]);
        values.push_back(static_cast<double>(value));
    }
    return values;
}

// Runs op as a user does: in measure mode, then with an arena of exactly the measured peak.
inline void measure_and_run(sdn_device* device, const std::function<void(sdn_exec*)>& op) {
    const Exec measure(device, 0, SDN_EXEC_MEASURE);
    op(measure);
    const Exec exec(device, measure.stats().peak_bytes);
    op(exec);
    EXPECT_EQ(exec.stats().peak_bytes, measure.stats().peak_bytes);
    EXPECT_EQ(exec.stats().live_bytes, 0) << "scratch was not given back";
}

}  // namespace sdn::test
