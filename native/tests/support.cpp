#include "tests/support.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>

#include "core/dtype.h"
#include "core/memory.h"
#include "core/sanitizer.h"
#include "cuda/emulation/launch.h"
#include "cuda/runtime/runtime.h"

namespace sdn::test {

namespace {

constexpr int64_t kGuardBytes = 64;
constexpr int kGuardByte = 0xa5;

std::string index_text(const Shape& shape, int64_t index) {
    Shape position(shape.size());
    for (size_t i = shape.size(); i-- > 0; index /= shape[i]) position[i] = index % shape[i];
    return text_of(position);
}

}  // namespace

int64_t count_of(const Shape& shape) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    return count;
}

std::string text_of(const Shape& shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(shape[i]);
    return text + "]";
}

void ok(sdn_status status) {
    ASSERT_EQ(status, SDN_OK) << sdn_last_error();
}

void expect_error(sdn_status status, sdn_status expected, std::initializer_list<const char*> fragments) {
    EXPECT_EQ(status, expected) << sdn_last_error();
    for (const char* fragment : fragments)
        EXPECT_NE(std::string(sdn_last_error()).find(fragment), std::string::npos)
            << '"' << fragment << "\" is missing in: " << sdn_last_error();
}

sdn_tensor dense_view(void* data, const Shape& shape, int32_t dtype) {
    sdn_tensor view{data, dtype, static_cast<int32_t>(shape.size()), {1, 1, 1, 1}, {0, 0, 0, 0}};
    int64_t stride = 1;
    for (int i = view.rank - 1; i >= 0; --i) {
        view.shape[i] = shape[static_cast<size_t>(i)];
        view.stride[i] = stride;
        stride *= view.shape[i];
    }
    return view;
}

// ---- Array ---------------------------------------------------------------------------------------------------------------

namespace {

std::shared_ptr<void> test_memory(int64_t bytes) {
    static std::string absence;
    static cuda::Runtime* const gpu = cuda::gpu_runtime(absence);
    if (gpu != nullptr) {
        gpu->use(0);
        return {gpu->allocate_managed(bytes), [](void* data) { gpu->release(data); }};
    }
    auto memory = std::make_shared<Memory>(bytes, "a test");
    void* data = memory->data();
    return {std::move(memory), data};
}

}  // namespace

Array::Array(Shape shape, int32_t dtype, int64_t misalign) : shape_(std::move(shape)), front_(kGuardBytes + misalign) {
    const int64_t bytes = count_of(shape_) * dtype_bytes(dtype);
    total_ = front_ + bytes + kGuardBytes;
    memory_ = test_memory(total_);
    char* base = static_cast<char*>(memory_.get());
    std::memset(base, kGuardByte, static_cast<size_t>(front_));
    std::memset(base + front_, 0, static_cast<size_t>(bytes));
    std::memset(base + front_ + bytes, kGuardByte, kGuardBytes);
    forbid_access(base, front_);
    forbid_access(base + front_ + bytes, kGuardBytes);
    view_ = dense_view(base + front_, shape_, dtype);
}

Array::~Array() {
    if (memory_ == nullptr) return;  // moved from
    const char* base = static_cast<const char*>(memory_.get());
    allow_access(base, total_);
    const auto intact = [](const char* begin, const char* end) {
        return std::all_of(begin, end, [](char c) { return static_cast<unsigned char>(c) == kGuardByte; });
    };
    EXPECT_TRUE(intact(base, base + front_)) << "written in front of a tensor";
    EXPECT_TRUE(intact(base + total_ - kGuardBytes, base + total_)) << "written behind a tensor";
}

Array Array::random(Shape shape, uint32_t seed, float low, float high, int64_t misalign) {
    Array array(std::move(shape), SDN_FLOAT32, misalign);
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;  // xorshift64*
    for (int64_t i = 0; i < array.size(); ++i) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        const double unit = static_cast<double>((state * 0x2545f4914f6cdd1du) >> 40) * 0x1p-24;
        array[i] = static_cast<float>(static_cast<double>(low) + unit * static_cast<double>(high - low));
    }
    return array;
}

Array Array::of(Shape shape, const std::vector<float>& values) {
    Array array(std::move(shape));
    std::copy(values.begin(), values.end(), array.floats());
    return array;
}

int64_t Array::bytes() const {
    return size() * dtype_bytes(view_.dtype);
}
void Array::fill(float value) const {
    std::fill(floats(), floats() + size(), value);
}

// ---- handles -------------------------------------------------------------------------------------------------------------

Device::Device(const std::string& name, int threads, int32_t precision) {
    ok(sdn_device_open(name.c_str(), threads, precision, &device_));
}
Device::~Device() {
    ok(sdn_device_close(device_));
}

Exec::Exec(sdn_device* device, int64_t arena_bytes, int mode) {
    ok(sdn_exec_create(device, mode, arena_bytes, &exec_));
}
Exec::~Exec() {
    const sdn_status status = sdn_exec_synchronize(exec_);  // a GPU may still write what the test looks at next
    EXPECT_TRUE(status == SDN_OK || status == SDN_ERROR_DEVICE) << sdn_last_error();
    ok(sdn_exec_destroy(exec_));
}

sdn_exec_stats Exec::stats() const {
    sdn_exec_stats stats{};
    ok(sdn_exec_get_stats(exec_, &stats));
    return stats;
}

void* Exec::alloc(int64_t bytes) const {
    void* data = nullptr;
    ok(sdn_exec_alloc(exec_, bytes, &data));
    return data;
}

Weight::Weight(sdn_device* device, int kind, std::vector<const Array*> parts, std::vector<const Array*> biases, int32_t storage, bool geglu,
               bool doubles) {
    std::vector<sdn_tensor> part_views, bias_views;
    for (const Array* part : parts) part_views.push_back(part->view());
    for (const Array* bias : biases) bias_views.push_back(bias->view());
    sdn_weight_desc desc{};
    desc.kind = kind;
    desc.storage = storage;
    desc.part_count = static_cast<int32_t>(parts.size());
    desc.geglu = geglu ? 1 : 0;
    desc.doubles = doubles ? 1 : 0;
    desc.parts = part_views.data();
    desc.biases = bias_views.empty() ? nullptr : bias_views.data();
    ok(sdn_weight_create(device, &desc, &weight_));
}

Weight::~Weight() {
    ok(sdn_weight_destroy(weight_));
}

sdn_weight_info Weight::info() const {
    sdn_weight_info info{};
    ok(sdn_weight_get_info(weight_, &info));
    return info;
}

// ---- comparison ----------------------------------------------------------------------------------------------------------

namespace {

::testing::AssertionResult compare(const Array& got, const std::vector<double>& expected, const std::function<double(double)>& limit_of) {
    if (got.size() != static_cast<int64_t>(expected.size()))
        return ::testing::AssertionFailure() << "shape " << text_of(got.shape()) << " but " << expected.size() << " expected values";
    int64_t bad = 0, first = -1, worst = -1;
    double worst_ratio = 0;
    for (int64_t i = 0; i < got.size(); ++i) {
        const double want = expected[static_cast<size_t>(i)], have = static_cast<double>(got[i]);
        if (have == want || (std::isnan(have) && std::isnan(want))) continue;
        const double limit = limit_of(want), ratio = std::fabs(have - want) / limit;
        if (ratio <= 1) continue;  // false for NaN too
        if (first < 0) first = i;
        if (worst < 0 || ratio > worst_ratio) worst = i, worst_ratio = ratio;
        ++bad;
    }
    if (bad == 0) return ::testing::AssertionSuccess();
    const auto line = [&](int64_t i) {
        const double want = expected[static_cast<size_t>(i)], have = static_cast<double>(got[i]);
        std::ostringstream text;
        text.precision(9);
        text << index_text(got.shape(), i) << ": got " << have << ", expected " << want << ", error over limit "
             << std::fabs(have - want) / limit_of(want);
        return text.str();
    };
    return ::testing::AssertionFailure() << "shape " << text_of(got.shape()) << ", " << bad << " of " << got.size() << " wrong, first at "
                                         << line(first) << "; worst at " << line(worst);
}

}  // namespace

::testing::AssertionResult close_to(const Array& got, const std::vector<double>& expected, double limit) {
    double largest = 0;
    for (const double value : expected) largest = std::max(largest, std::fabs(value));
    return compare(got, expected, [&](double) { return limit * largest; });
}

::testing::AssertionResult each_close_to(const Array& got, const std::vector<double>& expected, double relative, double absolute) {
    return compare(got, expected, [&](double want) { return relative * std::fabs(want) + absolute; });
}

::testing::AssertionResult identical(const Array& a, const Array& b) {
    if (a.shape() != b.shape() || a.view().dtype != b.view().dtype)
        return ::testing::AssertionFailure() << text_of(a.shape()) << " and " << text_of(b.shape()) << " or their dtypes differ";
    const int64_t size = dtype_bytes(a.view().dtype);
    for (int64_t i = 0; i < a.size(); ++i)
        if (std::memcmp(a.as<char>() + i * size, b.as<char>() + i * size, static_cast<size_t>(size)) != 0)
            return ::testing::AssertionFailure() << "shape " << text_of(a.shape()) << ", first difference at " << index_text(a.shape(), i)
                                                 << (size == 4 ? ": " + std::to_string(a[i]) + " and " + std::to_string(b[i]) : "");
    return ::testing::AssertionSuccess();
}

// ---- EachDevice ----------------------------------------------------------------------------------------------------------

void EachDevice::SetUp() {
    sdn_device* device = nullptr;
    const sdn_status status = sdn_device_open(GetParam(), 1, SDN_PRECISION_REFERENCE, &device);
    if (status == SDN_ERROR_NO_DEVICE) GTEST_SKIP() << sdn_last_error();
    ok(status);
    ok(sdn_device_close(device));
}

Array EachDevice::same_for_any_threads(const std::function<Array(sdn_device*, sdn_exec*)>& compute, int64_t arena_bytes,
                                       int32_t precision) {
    std::unique_ptr<Array> first;
    const std::vector<int> runs = on_cpu() ? std::vector<int>{1, 2, 5} : std::vector<int>{1, 2};
    for (const int threads : runs) {
#if defined(SDN_HAS_EMULATION)
        cuda::emulation::set_order_seed(static_cast<uint64_t>(threads));
#endif
        const Device device(GetParam(), threads, precision);
        const Exec exec(device, arena_bytes);
        Array result = compute(device, exec);
        ok(sdn_exec_synchronize(exec));
        if (first == nullptr)
            first = std::make_unique<Array>(std::move(result));
        else
            EXPECT_TRUE(identical(*first, result)) << "with " << threads << " threads, against 1";
        EXPECT_EQ(exec.stats().live_bytes, 0) << "scratch was not given back";
    }
    return std::move(*first);
}

// ---- DeviceWithExec ------------------------------------------------------------------------------------------------------

void DeviceWithExec::SetUp() {
    setenv("SDN_CUDA_SYNC", "1", 1);
    const sdn_status status = sdn_device_open(GetParam(), 2, SDN_PRECISION_REFERENCE, &device_);
    unsetenv("SDN_CUDA_SYNC");
    if (status == SDN_ERROR_NO_DEVICE) GTEST_SKIP() << sdn_last_error();
    ok(status);
    ok(sdn_exec_create(device_, SDN_EXEC_RUN, 1 << 20, &exec_));
}

void DeviceWithExec::TearDown() {
    ok(sdn_exec_destroy(exec_));
    ok(sdn_device_close(device_));
}

}  // namespace sdn::test
