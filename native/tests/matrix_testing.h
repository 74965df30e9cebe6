// What the tests of linear, conv2d and attention share: handles, random data, and limits of error.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sdn.h"

namespace matrix_testing {

constexpr double kUnitRoundoff = 0x1p-24;  // of float32

inline void check(sdn_status status) {
    ASSERT_EQ(status, SDN_OK) << sdn_last_error();
}

struct DeviceCloser {
    void operator()(sdn_device* d) const { sdn_device_close(d); }
};
struct WeightDestroyer {
    void operator()(sdn_weight* w) const { sdn_weight_destroy(w); }
};
using Device = std::unique_ptr<sdn_device, DeviceCloser>;
using Weight = std::unique_ptr<sdn_weight, WeightDestroyer>;

inline Device open_device(const std::string& name, int threads) {
    sdn_device* device = nullptr;
    check(sdn_device_open(name.c_str(), threads, &device));
    return Device(device);
}

// The parameter of a test: one CPU instruction set. Skips where the machine lacks it.
class EveryInstructionSet : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        sdn_device* device = nullptr;
        if (sdn_device_open(GetParam(), 1, &device) != SDN_OK) GTEST_SKIP() << sdn_last_error();
        sdn_device_close(device);
    }
};

#define INSTANTIATE_FOR_EVERY_INSTRUCTION_SET(suite)                                                  \
    INSTANTIATE_TEST_SUITE_P(Cpu, suite, ::testing::Values("cpu:portable", "cpu:avx2", "cpu:avx512"), \
                             [](const auto& info) { return std::string(info.param + 4); })

// A float buffer that begins 4 bytes past the start of a cache line, wherever the allocator put it; so is a copy's.
class Misaligned {
  public:
    Misaligned() = default;
    explicit Misaligned(int64_t count, float value = 0) : memory_(static_cast<size_t>(count) + 32, value), count_(count) {}
    Misaligned(const Misaligned& other) : Misaligned(other.count_) { std::memcpy(data(), other.data(), bytes()); }
    Misaligned(Misaligned&&) = default;
    Misaligned& operator=(Misaligned&&) = default;

    const float* data() const {
        const auto misalignment = reinterpret_cast<uintptr_t>(memory_.data()) % 64;
        return memory_.data() + (64 - misalignment) / 4 + 1;
    }
    float* data() { return const_cast<float*>(static_cast<const Misaligned*>(this)->data()); }
    float& operator[](int64_t i) { return data()[i]; }
    int64_t size() const { return count_; }
    size_t bytes() const { return static_cast<size_t>(count_) * sizeof(float); }

  private:
    std::vector<float> memory_;
    int64_t count_ = 0;
};

// Uniform in [-1, 1), the same on every machine.
inline Misaligned random_values(int64_t count, uint32_t seed) {
    std::mt19937 engine(seed);
    Misaligned values(count);
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(static_cast<int32_t>(engine()) * 0x1p-31);
    return values;
}

inline sdn_tensor tensor(void* data, std::initializer_list<int64_t> shape, int32_t dtype = SDN_FLOAT32) {
    sdn_tensor t{};
    t.data = data;
    t.dtype = dtype;
    t.rank = static_cast<int32_t>(shape.size());
    int i = 0;
    for (const int64_t n : shape) t.shape[i++] = n;
    for (; i < 4; ++i) t.shape[i] = 1;
    int64_t stride = 1;
    for (int d = t.rank - 1; d >= 0; --d) t.stride[d] = stride, stride *= t.shape[d];
    return t;
}

// Runs op as a user does: in measure mode, then with an arena of exactly the measured peak.
inline void measure_and_run(sdn_device* device, const std::function<sdn_status(sdn_exec*)>& op) {
    int64_t arena = 0;
    for (const int32_t mode : {SDN_EXEC_MEASURE, SDN_EXEC_RUN}) {
        sdn_exec* exec = nullptr;
        check(sdn_exec_create(device, mode, arena, &exec));
        check(op(exec));
        sdn_exec_stats stats{};
        check(sdn_exec_get_stats(exec, &stats));
        if (mode == SDN_EXEC_MEASURE) arena = stats.peak_bytes;
        EXPECT_EQ(stats.peak_bytes, arena);
        EXPECT_EQ(stats.live_bytes, 0);
        check(sdn_exec_destroy(exec));
    }
}

inline Weight make_weight(sdn_device* device, int32_t kind, int32_t storage, std::initializer_list<int64_t> shape, float* values,
                          float* bias, bool geglu = false) {
    const int64_t outputs = *shape.begin();
    const int64_t parts = geglu ? 2 : 1;
    int64_t inputs = 1;
    for (const int64_t n : shape) inputs *= n;
    inputs /= outputs;
    sdn_tensor values_of[2], bias_of[2];
    for (int64_t i = 0; i < parts; ++i) {
        values_of[i] = tensor(values + i * outputs * inputs, shape);
        bias_of[i] = tensor(bias + i * outputs, {outputs});
    }
    sdn_weight_desc desc{};
    desc.kind = kind;
    desc.storage = storage;
    desc.part_count = static_cast<int32_t>(parts);
    desc.geglu = geglu ? 1 : 0;
    desc.parts = values_of;
    desc.biases = bias ? bias_of : nullptr;
    sdn_weight* weight = nullptr;
    check(sdn_weight_create(device, &desc, &weight));
    return Weight(weight);
}

inline double value_of(int32_t dtype, const void* data, int64_t i) {
    if (dtype == SDN_FLOAT32) return static_cast<double>(static_cast<const float*>(data)[i]);
    const uint16_t bits = static_cast<const uint16_t*>(data)[i];
    const int fraction = dtype == SDN_FLOAT16 ? 10 : 7, bias = dtype == SDN_FLOAT16 ? 15 : 127;
    const int exponent = (bits & 0x7fff) >> fraction, mantissa = bits & ((1 << fraction) - 1);
    const double magnitude =
        exponent == 0 ? std::ldexp(mantissa, 1 - bias - fraction) : std::ldexp(mantissa + (1 << fraction), exponent - bias - fraction);
    return bits & 0x8000 ? -magnitude : magnitude;
}

// What the weight holds after rounding to its storage, row-major [rows, columns].
inline std::vector<double> stored_values(const sdn_weight* weight) {
    sdn_weight_info info{};
    check(sdn_weight_get_info(weight, &info));
    std::vector<float> memory(static_cast<size_t>(info.rows * info.columns));
    check(sdn_weight_unpack(weight, memory.data(), nullptr));
    std::vector<double> values(memory.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = value_of(info.storage, memory.data(), static_cast<int64_t>(i));
    return values;
}

// A sum of products in float64, with the error that float32 may make of it: each of K additions rounds a partial sum, which by Cauchy
// and Schwarz is at most sqrt(K) * sqrt(sum of squares); such roundings add up like sqrt(K) of their size. 4 standard deviations.
class Sum {
  public:
    void add(double product) {
        value_ += product;
        squares_ += product * product;
        ++count_;
    }
    double value() const { return value_; }
    double limit() const { return 4 * kUnitRoundoff * std::sqrt(static_cast<double>(count_) * squares_); }

  private:
    double value_ = 0, squares_ = 0;
    int64_t count_ = 0;
};

struct Expected {
    double value, limit;
};

// Reports the first element whose error passes its limit.
inline void expect_close(const std::string& what, Misaligned& got, const std::vector<Expected>& expected) {
    ASSERT_EQ(static_cast<size_t>(got.size()), expected.size()) << what;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double value = static_cast<double>(got[static_cast<int64_t>(i)]);
        const double error = std::fabs(value - expected[i].value);
        if (error <= expected[i].limit) continue;
        ADD_FAILURE() << what << ": element " << i << " is " << value << ", expected " << expected[i].value << ", error/limit "
                      << error / expected[i].limit;
        return;
    }
}

inline void expect_same_bits(const std::string& what, const Misaligned& got, const Misaligned& expected) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.bytes()), 0) << what;
}

}  // namespace matrix_testing
