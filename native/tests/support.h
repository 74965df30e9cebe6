// What every test uses: arrays with a tensor view, execs and weights as RAII, comparison with a scalar twin.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "sdn.h"
#include "tests/tolerances.h"

namespace sdn::test {

using Shape = std::vector<int64_t>;

int64_t count_of(const Shape& shape);
std::string text_of(const Shape& shape);  // "[1,8,8,16]"

// Fails the test with the library's text where a call did not succeed.
void ok(sdn_status status);
// Expects this status and that the text contains each of the fragments.
void expect_error(sdn_status status, sdn_status expected, std::initializer_list<const char*> fragments);

// A dense tensor between guard bytes: a write into them fails the test, and under the address sanitizer so does a read. `misalign` bytes
// are added to a 64-byte aligned address.
class Array {
  public:
    explicit Array(Shape shape, int32_t dtype = SDN_FLOAT32, int64_t misalign = 0);
    ~Array();
    Array(Array&&) = default;
    Array& operator=(Array&&) = delete;

    // Uniform in [low, high), the same for the same seed everywhere.
    static Array random(Shape shape, uint32_t seed, float low = -1, float high = 1, int64_t misalign = 0);
    static Array of(Shape shape, const std::vector<float>& values);

    const sdn_tensor* operator()() const { return &view_; }
    sdn_tensor view() const { return view_; }
    const Shape& shape() const { return shape_; }
    int64_t size() const { return count_of(shape_); }
    int64_t bytes() const;
    void* data() const { return view_.data; }
    float* floats() const { return static_cast<float*>(view_.data); }
    template <class T>
    T* as() const {
        return static_cast<T*>(view_.data);
    }
    float& operator[](int64_t i) const { return floats()[i]; }
    void fill(float value) const;

  private:
    Shape shape_;
    sdn_tensor view_{};
    int64_t front_ = 0, total_ = 0;
    std::shared_ptr<void> memory_;  // where there is a GPU, managed memory, which it reads too
};

// A dense view of memory that somebody else holds.
sdn_tensor dense_view(void* data, const Shape& shape, int32_t dtype = SDN_FLOAT32);

class Device {
  public:
    explicit Device(const std::string& name, int threads = 2, int32_t precision = SDN_PRECISION_REFERENCE);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    operator sdn_device*() const { return device_; }

  private:
    sdn_device* device_ = nullptr;
};

class Exec {
  public:
    explicit Exec(sdn_device* device, int64_t arena_bytes = 1 << 24, int mode = SDN_EXEC_RUN);
    ~Exec();
    Exec(const Exec&) = delete;
    Exec& operator=(const Exec&) = delete;
    operator sdn_exec*() const { return exec_; }
    sdn_exec_stats stats() const;
    void* alloc(int64_t bytes) const;

  private:
    sdn_exec* exec_ = nullptr;
};

class Weight {
  public:
    Weight(sdn_device* device, int kind, std::vector<const Array*> parts, std::vector<const Array*> biases, int32_t storage = SDN_FLOAT32,
           bool geglu = false, bool doubles = false);
    ~Weight();
    Weight(const Weight&) = delete;
    Weight& operator=(const Weight&) = delete;
    operator sdn_weight*() const { return weight_; }
    sdn_weight_info info() const;

  private:
    sdn_weight* weight_ = nullptr;
};

// The largest error as a share of the largest expected value must be at most `limit`.
::testing::AssertionResult close_to(const Array& got, const std::vector<double>& expected, double limit);
// Each error must be at most relative * |expected| + absolute.
::testing::AssertionResult each_close_to(const Array& got, const std::vector<double>& expected, double relative, double absolute = 0);
// Byte for byte.
::testing::AssertionResult identical(const Array& a, const Array& b);

// A test that runs once per device of this build: GetParam() is "cpu:portable", "cpu:avx2", "cpu:avx512", "cpu:avx512bf16", "cuda:emulated"
// or "cuda:0". Those that the machine lacks are skipped, with that reason.
class EachDevice : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override;

    bool on_cpu() const { return std::string(GetParam()).compare(0, 3, "cpu") == 0; }
    // Calls compute(exec) with 1, 2 and 5 threads, on a GPU twice, emulated with blocks and threads in another order; all must give the
    // same bits. Returns the result.
    Array same_for_any_threads(const std::function<Array(sdn_device*, sdn_exec*)>& compute, int64_t arena_bytes = 1 << 24,
                               int32_t precision = SDN_PRECISION_REFERENCE);
};

// A test of the device that GetParam() names, with one exec. On a GPU every op waits, so that results can be read right after it.
class DeviceWithExec : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override;
    void TearDown() override;

    sdn_device* device_ = nullptr;
    sdn_exec* exec_ = nullptr;
};

#define SDN_FOR_EACH_DEVICE(suite)                                                                                                     \
    INSTANTIATE_TEST_SUITE_P(On, suite,                                                                                                \
                             ::testing::Values("cpu:portable", "cpu:avx2", "cpu:avx512", "cpu:avx512bf16", "cuda:emulated", "cuda:0"), \
                             [](const ::testing::TestParamInfo<const char*>& info) {                                                   \
                                 const std::string name = info.param;                                                                  \
                                 return name == "cuda:0" ? std::string("gpu") : name.substr(name.find(':') + 1);                       \
                             })

}  // namespace sdn::test
