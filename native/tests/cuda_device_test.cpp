// What the CUDA backend does around its kernels: memory, streams, events, graphs, faults. On the emulated device, which is always there,
// and where nothing is planted also on a GPU.
#include <cstdlib>
#include <thread>

#include "tests/sums.h"

namespace sdn::test {

namespace {

constexpr const char* kEmulated = "cuda:emulated";

// Sets an environment variable for the life of the object.
class Environment {
  public:
    Environment(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
    ~Environment() { unsetenv(name_); }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

  private:
    const char* name_;
};

class Event {
  public:
    explicit Event(sdn_device* device) { ok(sdn_event_create(device, &event_)); }
    ~Event() { ok(sdn_event_destroy(event_)); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    operator sdn_event*() const { return event_; }

  private:
    sdn_event* event_ = nullptr;
};

bool emulation_is_there() {
    sdn_device* device = nullptr;
    const bool there = sdn_device_open(kEmulated, 0, SDN_PRECISION_REFERENCE, &device) == SDN_OK;
    sdn_device_close(device);
    return there;
}

#define REQUIRE_EMULATION() \
    if (!emulation_is_there()) GTEST_SKIP() << sdn_last_error()

sdn_device_info info_of(sdn_device* device) {
    sdn_device_info info{};
    ok(sdn_device_get_info(device, &info));
    return info;
}

// out = 2 x - y on the device, through buffers of its own.
struct Combination {
    static constexpr int64_t kCount = 1000;
    sdn_device* device;
    void *x = nullptr, *y = nullptr, *out = nullptr;

    explicit Combination(sdn_device* d) : device(d) {
        for (void** data : {&x, &y, &out}) ok(sdn_buffer_alloc(device, kCount * 4, data));
    }
    ~Combination() {
        for (void* data : {x, y, out}) ok(sdn_buffer_free(device, data));
    }
    Combination(const Combination&) = delete;
    Combination& operator=(const Combination&) = delete;

    void upload(sdn_exec* exec, float x_value, float y_value) const {
        const std::vector<float> xs(kCount, x_value), ys(kCount, y_value);
        ok(sdn_upload(exec, x, xs.data(), kCount * 4));
        ok(sdn_upload(exec, y, ys.data(), kCount * 4));
    }
    sdn_status run(sdn_exec* exec) const {
        const sdn_tensor o = dense_view(out, {kCount});
        const sdn_tensor inputs[] = {dense_view(x, {kCount}), dense_view(y, {kCount})};
        const double coefficients[] = {2, -1};
        return sdn_linear_combination(exec, &o, inputs, coefficients, 2);
    }
    void expect(sdn_exec* exec, float value) const {
        std::vector<float> values(kCount);
        ok(sdn_download(exec, values.data(), out, kCount * 4));
        EXPECT_EQ(values.front(), value);
        EXPECT_EQ(values.back(), value);
    }
};

}  // namespace

TEST(CudaDevice, Info_IsThatOfTheEmulatedGpu) {
    REQUIRE_EMULATION();
    const Device device(kEmulated);
    const sdn_device_info info = info_of(device);
    EXPECT_EQ(info.kind, SDN_DEVICE_CUDA);
    EXPECT_EQ(info.emulated, 1);
    EXPECT_EQ(info.lost, 0);
    EXPECT_GT(info.multiprocessors, 0);
    EXPECT_GT(info.threads_per_multiprocessor, 0);
    EXPECT_GT(info.free_bytes, 0);
    EXPECT_STREQ(info.instruction_set, "sm_80");
    int somewhere = 0;
    void* context = &somewhere;
    ok(sdn_device_get_context(device, &context));
    EXPECT_EQ(context, nullptr);
}

TEST(CudaDevice, OpenedTwice_SharesItsWeights) {
    REQUIRE_EMULATION();
    const Device first(kEmulated), second(kEmulated);
    const Array values = Array::random({3, 8}, 1), x = Array::random({2, 8}, 2), out({2, 3});
    const Weight weight(first, SDN_WEIGHT_MATRIX, {&values}, {});
    const Exec exec(second), cpu_exec(Device("cpu"));
    ok(sdn_linear(exec, out(), x(), nullptr, weight, nullptr, SDN_ACTIVATION_NONE));
    expect_error(sdn_linear(cpu_exec, out(), x(), nullptr, weight, nullptr, SDN_ACTIVATION_NONE), SDN_ERROR_INVALID_ARGUMENT,
                 {"made for cuda:emulated", "cpu:"});
}

TEST(CudaDevice, MemoryThatIsNotThere_IsRefusedWithNeededAndFreeBytes) {
    REQUIRE_EMULATION();
    const Environment limit("SDN_EMULATION_MEMORY", "1000000");
    const Device device(kEmulated);
    void *data = nullptr, *more = nullptr;
    ok(sdn_buffer_alloc(device, 600000, &data));
    expect_error(sdn_buffer_alloc(device, 600000, &more), SDN_ERROR_OUT_OF_MEMORY, {"600064 bytes", "a buffer", "of its 1000000 bytes"});
    sdn_exec* exec = nullptr;
    expect_error(sdn_exec_create(device, SDN_EXEC_RUN, 600000, &exec), SDN_ERROR_OUT_OF_MEMORY, {"an arena"});
    ok(sdn_buffer_free(device, data));
    EXPECT_GE(info_of(device).free_bytes, 900000);
    ok(sdn_buffer_alloc(device, 900000, &data));  // what the pool kept of the other size is given up for it
    ok(sdn_buffer_free(device, data));
}

TEST(CudaDevice, FreedMemory_IsUsedAgain) {
    REQUIRE_EMULATION();
    const Device device(kEmulated);
    void *first = nullptr, *second = nullptr;
    ok(sdn_buffer_alloc(device, 100000, &first));
    ok(sdn_buffer_free(device, first));
    ok(sdn_buffer_alloc(device, 99000, &second));
    EXPECT_EQ(first, second);
    ok(sdn_buffer_free(device, second));
}

class CudaStream : public EachDevice {};
SDN_FOR_EACH_DEVICE(CudaStream);

TEST_P(CudaStream, Events_AreReachedInOrderAndTimed) {
    const Device device(GetParam());
    const Exec exec(device);
    const Combination work(device);
    const Event begin(device), end(device), never(device);
    int32_t done = 0;
    ok(sdn_event_query(never, &done));
    EXPECT_EQ(done, 1);
    work.upload(exec, 3, 1);
    ok(sdn_event_record(begin, exec));
    ok(work.run(exec));
    ok(sdn_event_record(end, exec));
    ok(sdn_event_synchronize(end));
    ok(sdn_event_query(begin, &done));
    EXPECT_EQ(done, 1);
    double milliseconds = -1;
    ok(sdn_event_elapsed(begin, end, &milliseconds));
    EXPECT_GE(milliseconds, 0);
    work.expect(exec, 5);
    const Device other("cpu", 1);
    if (!on_cpu()) {
        const Exec cpu_exec(other);
        expect_error(sdn_event_record(end, cpu_exec), SDN_ERROR_INVALID_ARGUMENT, {"event was made for", "cpu:"});
    }
}

TEST_P(CudaStream, LargeAndSmallUploads_ArriveInOrder) {
    const Device device(GetParam());
    for (const int64_t bytes : {int64_t{1}, int64_t{4096}, int64_t{300} << 10, int64_t{3} << 20}) {
        const Exec exec(device, bytes + 64);
        void* data = exec.alloc(bytes);
        std::vector<uint8_t> sent(static_cast<size_t>(bytes)), got(static_cast<size_t>(bytes));
        for (int round = 0; round < 9; ++round) {
            for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i * 31 + static_cast<size_t>(round));
            ok(sdn_upload(exec, data, sent.data(), bytes));
        }
        ok(sdn_download(exec, got.data(), data, bytes));
        EXPECT_EQ(sent, got) << bytes;
    }
}

TEST_P(CudaStream, Graph_RepeatsWhatWasCaptured) {
    const Device device(GetParam());
    const Exec exec(device), other(device);
    const Combination work(device);
    work.upload(exec, 1, 1);
    if (on_cpu()) {
        expect_error(sdn_capture_begin(exec), SDN_ERROR_UNSUPPORTED, {"no graphs"});
        return;
    }
    ok(work.run(exec));
    ok(sdn_capture_begin(exec));
    work.upload(other, 10, 3);
    ok(work.run(exec));
    ok(sdn_exec_synchronize(other));
    sdn_graph* graph = nullptr;
    ok(sdn_capture_end(exec, &graph));
    work.expect(exec, 1);  // captured, not run
    ok(sdn_graph_launch(graph, exec));
    work.expect(exec, 17);
    work.upload(exec, 0, 4);
    ok(sdn_graph_launch(graph, exec));
    work.expect(exec, -4);
    ok(sdn_graph_launch(graph, other));
    work.expect(other, -4);
    ok(sdn_graph_destroy(graph));
    ok(sdn_graph_destroy(nullptr));
}

TEST_P(CudaStream, CaptureOfWhatWaits_IsRefused) {
    if (on_cpu()) GTEST_SKIP() << "a CPU device has no graphs";
    const Device device(GetParam());
    const Exec exec(device), measure(device, 0, SDN_EXEC_MEASURE);
    const Combination work(device);
    sdn_graph* graph = nullptr;
    expect_error(sdn_capture_begin(measure), SDN_ERROR_INVALID_ARGUMENT, {"measuring"});
    expect_error(sdn_capture_end(exec, &graph), SDN_ERROR_INVALID_ARGUMENT, {"not capturing"});
    ok(sdn_capture_begin(exec));
    float value = 0;
    int32_t finite = 0;
    expect_error(sdn_capture_begin(exec), SDN_ERROR_INVALID_ARGUMENT, {"capturing already"});
    expect_error(sdn_download(exec, &value, work.out, 4), SDN_ERROR_INVALID_ARGUMENT, {"before the capture"});
    expect_error(sdn_exec_synchronize(exec), SDN_ERROR_INVALID_ARGUMENT, {"capturing"});
    const sdn_tensor view = dense_view(work.out, {Combination::kCount});
    expect_error(sdn_is_finite(exec, &view, &finite), SDN_ERROR_INVALID_ARGUMENT, {"sdn_is_finite"});
    expect_error(sdn_capture_end(exec, &graph), SDN_ERROR_INVALID_ARGUMENT, {"an op failed"});
    EXPECT_EQ(graph, nullptr);
    work.upload(exec, 2, 1);  // usable again
    ok(work.run(exec));
    work.expect(exec, 3);
}

// The device and its memory go on as if there had been none.
TEST_P(CudaStream, CaptureThatNobodyEnds_GoesWithItsExec) {
    if (on_cpu()) GTEST_SKIP() << "a CPU device has no graphs";
    const Device device(GetParam());
    const Combination work(device);
    {
        sdn_exec* exec = nullptr;
        ok(sdn_exec_create(device, SDN_EXEC_RUN, 1 << 16, &exec));
        ok(sdn_capture_begin(exec));
        ok(work.run(exec));
        ok(sdn_exec_destroy(exec));
    }
    const Exec exec(device);
    work.upload(exec, 4, 1);
    ok(work.run(exec));
    work.expect(exec, 7);
}

TEST_P(CudaStream, SeveralThreads_EachWithItsExec) {
    const Device device(GetParam());
    const Combination first(device), second(device);
    const auto work = [&](const Combination& c, float x) {
        const Exec exec(device);
        for (int i = 0; i < 20; ++i) {
            c.upload(exec, x, 1);
            ok(c.run(exec));
            c.expect(exec, 2 * x - 1);
        }
    };
    std::thread other([&] { work(second, 7); });
    work(first, 5);
    other.join();
}

TEST_P(CudaStream, LastKernels_SayWhatRan) {
    const Device device(GetParam());
    const Exec exec(device);
    const Combination c(device);
    EXPECT_STREQ(sdn_exec_last_kernels(exec), "");
    ok(c.run(exec));
    if (on_cpu())
        EXPECT_STREQ(sdn_exec_last_kernels(exec), "");
    else
        EXPECT_NE(std::string(sdn_exec_last_kernels(exec)).find("linear_combination"), std::string::npos) << sdn_exec_last_kernels(exec);
    EXPECT_STREQ(sdn_exec_last_kernels(nullptr), "");
}

// A fault shows when somebody waits, says how to find its op, ends the device and leaves the process as it is.
TEST(CudaFault, Asynchronous_IsToldAtTheNextWaitAndEndsTheDevice) {
    REQUIRE_EMULATION();
    {
        const Device device(kEmulated);
        const Environment fault("SDN_EMULATION_FAULT", "linear_combination");
        const Exec exec(device);
        const Combination c(device);
        EXPECT_EQ(c.run(exec), SDN_OK);
        expect_error(sdn_exec_synchronize(exec), SDN_ERROR_DEVICE, {"illegal memory access", "SDN_CUDA_SYNC=1"});
        EXPECT_EQ(info_of(device).lost, 1);
        expect_error(c.run(exec), SDN_ERROR_DEVICE, {"lost to an earlier fault", "illegal memory access"});
        void* data = nullptr;
        expect_error(sdn_buffer_alloc(device, 64, &data), SDN_ERROR_DEVICE, {"lost"});
    }
    const Device again(kEmulated);  // a new process, as it were
    EXPECT_EQ(info_of(again).lost, 0);
}

TEST(CudaFault, WithWaits_NamesItsOpAndShape) {
    REQUIRE_EMULATION();
    const Environment waits("SDN_CUDA_SYNC", "1"), fault("SDN_EMULATION_FAULT", "linear_combination");
    const Device device(kEmulated);
    const Exec exec(device);
    const Combination c(device);
    expect_error(c.run(exec), SDN_ERROR_DEVICE, {"sdn_linear_combination", "[1000]", "illegal memory access"});
    EXPECT_EQ(std::string(sdn_last_error()).find("SDN_CUDA_SYNC"), std::string::npos) << sdn_last_error();
}

// Half-precision activations are for GPUs; the text says what to use.
TEST(CudaDevice, HalfActivationsOnACpu_AreRefused) {
    const Device device("cpu", 1);
    const Exec exec(device);
    const Array x({4, 8}, SDN_FLOAT16), out({4, 8}, SDN_FLOAT16);
    expect_error(sdn_activation(exec, out(), x(), SDN_ACTIVATION_SILU), SDN_ERROR_SHAPE, {"out is float16, must be float32"});
}

}  // namespace sdn::test
