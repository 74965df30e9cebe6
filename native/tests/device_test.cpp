#include "core/device.h"

#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/system_info.h"
#include "cpu/kernels.h"
#include "tests/support.h"

namespace sdn::test {

TEST(Device, Count_HasOneCpuAndSaysWhyThereIsNoCuda) {
    int32_t count = -1;
    ok(sdn_device_count(SDN_DEVICE_CPU, &count));
    EXPECT_EQ(count, 1);
    ok(sdn_device_count(SDN_DEVICE_CUDA, &count));
    const std::string build = sdn_build_info();
    if (count == 0) {
        const bool built = build.find("sm_") != std::string::npos;
        EXPECT_NE(std::string(sdn_last_error()).find(built ? "driver" : "built without CUDA"), std::string::npos) << sdn_last_error();
    }
    expect_error(sdn_device_count(7, &count), SDN_ERROR_INVALID_ARGUMENT, {"kind 7"});
}

TEST(Device, Open_OfAnUnknownNameSaysWhatThereIs) {
    sdn_device* device = nullptr;
    expect_error(sdn_device_open("cuda:99", 0, SDN_PRECISION_REFERENCE, &device), SDN_ERROR_NO_DEVICE, {"cuda:99"});
    expect_error(sdn_device_open("cuda:x", 0, SDN_PRECISION_REFERENCE, &device), SDN_ERROR_NO_DEVICE, {"cuda:x"});
    expect_error(sdn_device_open("cpu:sse9", 0, SDN_PRECISION_REFERENCE, &device), SDN_ERROR_NO_DEVICE, {"sse9", "portable"});
    expect_error(sdn_device_open("gpu", 0, SDN_PRECISION_REFERENCE, &device), SDN_ERROR_NO_DEVICE, {"\"gpu\"", "cpu:avx2"});
    expect_error(sdn_device_open(nullptr, 0, SDN_PRECISION_REFERENCE, &device), SDN_ERROR_INVALID_ARGUMENT, {"name is NULL"});
    expect_error(sdn_device_open("cpu", -1, SDN_PRECISION_REFERENCE, &device), SDN_ERROR_INVALID_ARGUMENT, {"threads is -1"});
    expect_error(sdn_device_open("cpu", 1, 2, &device), SDN_ERROR_INVALID_ARGUMENT, {"precision is 2"});
    EXPECT_EQ(device, nullptr);
}

TEST(Device, EnvironmentVariable_ForcesAnInstructionSetOnPlainCpuOnly) {
    EXPECT_STREQ(sdn::Device::open("cpu", "portable", 1, SDN_PRECISION_REFERENCE)->info().instruction_set, "portable");
    EXPECT_STREQ(sdn::Device::open("cpu", "", 1, SDN_PRECISION_REFERENCE)->info().instruction_set, cpu::best_kernels()->name);
    EXPECT_STREQ(sdn::Device::open("cpu:portable", "avx2", 1, SDN_PRECISION_REFERENCE)->info().instruction_set, "portable");
    expect_error(guard("open", [] { sdn::Device::open("cpu", "mmx", 1, SDN_PRECISION_REFERENCE); }), SDN_ERROR_NO_DEVICE,
                 {"SDN_CPU", "mmx", "portable"});
}

TEST(Device, SixteenBits_AreMultipliedInFastPrecisionWhereTheyAreFasterOrNamed) {
    const auto info = [](const char* name, int32_t precision) { return sdn::Device::open(name, "", 1, precision)->info(); };
    const cpu::Kernels* const avx512 = cpu::find_kernels("avx512");
    const int32_t halves = avx512 != nullptr && avx512->halves && cpu_has_avx512fp16() ? SDN_FLOAT16 : SDN_FLOAT32;
    EXPECT_EQ(info("cpu", SDN_PRECISION_FAST).product_dtype, cpu_pairs_are_fast() ? SDN_BFLOAT16 : halves);
    EXPECT_EQ(info("cpu", SDN_PRECISION_REFERENCE).product_dtype, SDN_FLOAT32);
    EXPECT_EQ(info("cpu:portable", SDN_PRECISION_FAST).product_dtype, SDN_FLOAT32);
    if (avx512 == nullptr) return;
    EXPECT_EQ(info("cpu:avx512", SDN_PRECISION_FAST).product_dtype, halves);
    EXPECT_EQ(info("cpu:avx512", SDN_PRECISION_REFERENCE).product_dtype, SDN_FLOAT32);
    if (cpu::find_kernels("avx512bf16") == nullptr) return;
    EXPECT_EQ(info("cpu:avx512bf16", SDN_PRECISION_FAST).product_dtype, SDN_BFLOAT16);
    EXPECT_EQ(info("cpu:avx512bf16", SDN_PRECISION_REFERENCE).product_dtype, SDN_FLOAT32);
}

TEST(Device, Info_IsFilled) {
    const Device device("cpu:portable", 3);
    sdn_device_info info;
    std::memset(&info, 0xff, sizeof info);
    ok(sdn_device_get_info(device, &info));
    EXPECT_EQ(info.kind, SDN_DEVICE_CPU);
    EXPECT_EQ(info.index, 0);
    EXPECT_EQ(info.threads, 3);
    EXPECT_EQ(info.precision, SDN_PRECISION_REFERENCE);
    EXPECT_EQ(info.product_dtype, SDN_FLOAT32);
    EXPECT_EQ(info.reserved, 0);
    EXPECT_GT(info.total_bytes, 0);
    EXPECT_GT(info.free_bytes, 0);
    EXPECT_GT(std::strlen(info.name), 0u);
    EXPECT_STREQ(info.instruction_set, "portable");
}

TEST(Device, DefaultThreads_AreAtLeastOne) {
    const Device device("cpu", 0);
    sdn_device_info info{};
    ok(sdn_device_get_info(device, &info));
    EXPECT_GE(info.threads, 1);
}

TEST(Device, Buffers_AreAlignedZeroAndFreedOnce) {
    const Device device("cpu");
    for (const int64_t bytes : {int64_t{1}, int64_t{1000}, int64_t{1} << 20, int64_t{9} << 20}) {
        void* data = nullptr;
        ok(sdn_buffer_alloc(device, bytes, &data));
        EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
        EXPECT_EQ(static_cast<char*>(data)[0], 0);
        EXPECT_EQ(static_cast<char*>(data)[bytes - 1], 0);
        std::memset(data, 1, static_cast<size_t>(bytes));
        ok(sdn_buffer_free(device, data));
        expect_error(sdn_buffer_free(device, data), SDN_ERROR_INVALID_ARGUMENT, {"freed already"});
    }
    ok(sdn_buffer_free(device, nullptr));
    void* data = nullptr;
    expect_error(sdn_buffer_alloc(device, 0, &data), SDN_ERROR_INVALID_ARGUMENT, {"0 bytes"});
    expect_error(sdn_buffer_alloc(device, int64_t{1} << 60, &data), SDN_ERROR_OUT_OF_MEMORY, {"1152921504606846976"});
}

// A weight and an exec keep their device alive.
TEST(Device, ClosedEarly_LivesOnInItsChildren) {
    sdn_device* device = nullptr;
    ok(sdn_device_open("cpu", 2, SDN_PRECISION_REFERENCE, &device));
    sdn_exec* exec = nullptr;
    ok(sdn_exec_create(device, SDN_EXEC_RUN, 1 << 16, &exec));
    ok(sdn_device_close(device));
    const Array x = Array::of({2}, {-3, 3}), out({2});
    ok(sdn_clamp(exec, out(), x(), -1, 1));
    EXPECT_EQ(out[0], -1);
    ok(sdn_exec_destroy(exec));
}

class DevicePeak : public EachDevice {};
SDN_FOR_EACH_DEVICE(DevicePeak);

TEST_P(DevicePeak, MeasurePeak_GivesAPositiveNumber) {
    const Device device(GetParam(), 2);
    double gflops = 0;
    ok(sdn_device_measure_peak(device, SDN_FLOAT32, 0.02, &gflops));
    EXPECT_GT(gflops, 0.01);
    EXPECT_LT(gflops, 1e6);
    expect_error(sdn_device_measure_peak(device, SDN_FLOAT32, 0, &gflops), SDN_ERROR_INVALID_ARGUMENT, {"seconds is 0"});
    expect_error(sdn_device_measure_peak(device, SDN_INT32, 1, &gflops), SDN_ERROR_INVALID_ARGUMENT, {"int32", "bfloat16"});
}

TEST_P(DevicePeak, MeasurePeak_OfPairs_GivesAPositiveNumber) {
    const Device device(GetParam(), 2, SDN_PRECISION_FAST);
    double gflops = 0;
    ok(sdn_device_measure_peak(device, SDN_BFLOAT16, 0.02, &gflops));
    EXPECT_GT(gflops, 0.01);
    EXPECT_LT(gflops, 1e6);
}

}  // namespace sdn::test
