// Execs: arena in both modes, statistics, cancellation, transfers; thread count and cancellation of the loops that ops use.
#include "core/exec.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "tests/support.h"

namespace sdn::test {

namespace {

// Every op but clamp, with intermediates of the arena. Runs in both modes: nothing here looks at a tensor's values.
sdn_exec_stats run_ops(sdn_device* device, int mode, int64_t arena_bytes) {
    const Exec exec(device, arena_bytes, mode);
    const Array scale({48}), shift({48}), kernel({16, 48, 3, 3}), matrix({32, 16});
    const Weight norm(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
    const Weight conv(device, SDN_WEIGHT_CONV2D, {&kernel}, {});
    const Weight linear(device, SDN_WEIGHT_MATRIX, {&matrix}, {});
    const auto take = [&](const Shape& shape) { return dense_view(exec.alloc(count_of(shape) * 4), shape); };
    const auto give = [&](const sdn_tensor& tensor) { ok(sdn_exec_free(exec, tensor.data)); };

    const Array host({2, 9, 7, 32});
    const sdn_tensor a = take({2, 9, 7, 32}), b = take({2, 9, 7, 16});
    ok(sdn_upload(exec, a.data, host.data(), host.bytes()));
    ok(sdn_upload(exec, b.data, host.data(), host.bytes() / 2));
    const sdn_tensor normed = take({2, 9, 7, 48});
    ok(sdn_group_norm(exec, &normed, &a, &b, norm, 12, 1e-5f, SDN_ACTIVATION_SILU));
    give(a);
    const sdn_conv2d_params params{2, 1, 1, 1, 1, 0, 0, 0};
    const sdn_tensor small = take({2, 5, 4, 16});
    ok(sdn_conv2d(exec, &small, &normed, conv, nullptr, nullptr, &params));
    give(normed);
    const sdn_tensor wide = take({2, 5, 4, 32});
    ok(sdn_linear(exec, &wide, &small, nullptr, linear, nullptr, SDN_ACTIVATION_GELU));
    give(small);
    sdn_tensor tokens = dense_view(wide.data, {2, 20, 32});
    const sdn_tensor attended = take({2, 20, 32});
    const sdn_attention_params heads{4, 0, 0.35f, 0};
    ok(sdn_attention(exec, &attended, &tokens, &tokens, &tokens, &heads));
    ok(sdn_dynamic_threshold(exec, &attended, &attended, 0.9f, 2.0f));
    ok(sdn_rescale_guidance(exec, &attended, &attended, &tokens, 0.5f));
    const Array table_host({5, 32}), norm_host({32});
    const Weight table(device, SDN_WEIGHT_EMBEDDING, {&table_host}, {}), row_norm(device, SDN_WEIGHT_NORM, {&norm_host}, {&norm_host});
    const sdn_tensor ids = dense_view(exec.alloc(40 * 4), {2, 20}, SDN_INT32);
    ok(sdn_upload(exec, ids.data, host.data(), 40 * 4));  // zeros
    ok(sdn_embedding(exec, &attended, &ids, table, nullptr));
    ok(sdn_layer_norm(exec, &tokens, &attended, row_norm, 1e-5f));
    ok(sdn_activation(exec, &tokens, &tokens, SDN_ACTIVATION_SILU));
    const double half = 0.5;
    ok(sdn_linear_combination(exec, &attended, &tokens, &half, 1));
    const sdn_tensor flat = dense_view(tokens.data, {40, 32}), rows = dense_view(ids.data, {40}, SDN_INT32);
    const sdn_tensor picked = take({40, 32}), bytes = dense_view(exec.alloc(40 * 32), {40, 32}, SDN_UINT8);
    ok(sdn_gather_rows(exec, &picked, &flat, &rows));
    ok(sdn_image_to_uint8(exec, &bytes, &picked));
    ok(sdn_copy(exec, &picked, &flat));
    int32_t finite = 0;
    ok(sdn_is_finite(exec, &picked, &finite));
    const sdn_tensor times = dense_view(picked.data, {32});
    const sdn_timestep_params sinusoids{1, 0, 10000, 0};
    const sdn_tensor waves = take({32, 16});
    ok(sdn_timestep_embedding(exec, &waves, &times, &sinusoids));
    give(waves);
    give(bytes);
    give(picked);
    give(ids);
    give(attended);
    give(wide);
    give(b);
    return exec.stats();
}

}  // namespace

class ExecModes : public EachDevice {};
SDN_FOR_EACH_DEVICE(ExecModes);

TEST_P(ExecModes, MeasuredPeak_IsExactlyThePeakOfTheRun) {
    for (const int threads : {1, 3}) {
        const Device device(GetParam(), threads);
        const sdn_exec_stats measured = run_ops(device, SDN_EXEC_MEASURE, 0);
        const sdn_exec_stats run = run_ops(device, SDN_EXEC_RUN, measured.peak_bytes);
        EXPECT_EQ(run.peak_bytes, measured.peak_bytes);
        EXPECT_EQ(run.flops, measured.flops);
        EXPECT_EQ(run.ops, measured.ops);
        EXPECT_EQ(run.ops, 15);
        EXPECT_EQ(run.live_bytes, 0);
        EXPECT_GE(run.peak_bytes, 2 * 9 * 7 * (32 + 16 + 48) * 4);
    }
}

// conv: 2*M*N*K; linear: the same; attention: 4*B*Sq*Sk*H*D. Shapes of run_ops().
TEST_P(ExecModes, Flops_CountMultiplyAddsTwice) {
    const Device device(GetParam(), 1);
    EXPECT_EQ(run_ops(device, SDN_EXEC_MEASURE, 0).flops, 2 * (2 * 5 * 4) * 16 * (48 * 9) + 2 * (2 * 20) * 32 * 16 + 4 * 2 * 20 * 20 * 32);
}

// Without its last 64 bytes the sequence must fail, and the text names the op and the arena.
TEST_P(ExecModes, ArenaBelowThePeak_RunsOutOfMemory) {
    if (!on_cpu()) GTEST_SKIP() << "on a GPU this op takes no scratch";
    const Device device(GetParam(), 1);
    const Exec exec(device, 4096 * 4 + 64);
    const Array x({64, 64}), out({64, 64});
    ok(sdn_dynamic_threshold(exec, out(), x(), 0.9f, 2.0f));  // takes 64*64*4 bytes of scratch
    exec.alloc(128);
    expect_error(sdn_dynamic_threshold(exec, out(), x(), 0.9f, 2.0f), SDN_ERROR_OUT_OF_MEMORY, {"sdn_dynamic_threshold", "16384", "16448"});
    EXPECT_EQ(exec.stats().live_bytes, 128);
}

TEST(Exec, MeasureMode_TakesNoMemory) {
    const Device device("cpu:portable", 1);
    const Exec exec(device, 0, SDN_EXEC_MEASURE);
    const sdn_tensor huge = dense_view(exec.alloc(int64_t{1} << 45), {1 << 20, 1 << 20});
    ok(sdn_clamp(exec, &huge, &huge, -1, 1));
    EXPECT_EQ(exec.stats().peak_bytes, int64_t{1} << 45);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(huge.data) % 64, 0u);
    int32_t finite = 0;
    ok(sdn_is_finite(exec, &huge, &finite));
    EXPECT_EQ(finite, 1);
    ok(sdn_exec_free(exec, huge.data));
}

TEST(Exec, Create_RefusesWhatCannotBe) {
    const Device device("cpu:portable", 1);
    sdn_exec* exec = nullptr;
    expect_error(sdn_exec_create(device, 2, 0, &exec), SDN_ERROR_INVALID_ARGUMENT, {"mode 2"});
    expect_error(sdn_exec_create(device, SDN_EXEC_RUN, -1, &exec), SDN_ERROR_INVALID_ARGUMENT, {"-1"});
    expect_error(sdn_exec_create(device, SDN_EXEC_RUN, int64_t{1} << 60, &exec), SDN_ERROR_OUT_OF_MEMORY, {"1152921504606846976"});
    expect_error(sdn_exec_create(nullptr, SDN_EXEC_RUN, 0, &exec), SDN_ERROR_INVALID_ARGUMENT, {"device is NULL"});
    EXPECT_EQ(exec, nullptr);
}

TEST(Exec, Free_OfAForeignPointerIsAnError) {
    const Device device("cpu:portable", 1);
    const Exec exec(device, 1 << 12);
    void* data = exec.alloc(100);
    int local = 0;
    expect_error(sdn_exec_free(exec, &local), SDN_ERROR_INVALID_ARGUMENT, {"sdn_exec_free"});
    expect_error(sdn_exec_free(exec, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"sdn_exec_free"});
    ok(sdn_exec_free(exec, data));
    expect_error(sdn_exec_free(exec, data), SDN_ERROR_INVALID_ARGUMENT, {"freed already"});
}

TEST(Exec, Reset_FreesAllAndZeroesStats) {
    const Device device("cpu:portable", 1);
    const Exec exec(device, 1 << 12);
    exec.alloc(4096);
    const Array x({4});
    ok(sdn_clamp(exec, x(), x(), 0, 1));
    ok(sdn_exec_reset(exec));
    const sdn_exec_stats stats = exec.stats();
    EXPECT_EQ(stats.live_bytes + stats.peak_bytes + stats.flops + stats.ops, 0);
    exec.alloc(4096);
}

TEST(Exec, Transfers_CopyBytes) {
    const Device device("cpu:portable", 1);
    const Exec exec(device, 1 << 12);
    const Array from = Array::random({100}, 1), to({100});
    void* data = exec.alloc(400);
    ok(sdn_upload(exec, data, from.data(), 400));
    ok(sdn_download(exec, to.data(), data, 400));
    EXPECT_TRUE(identical(from, to));
    ok(sdn_upload(exec, nullptr, nullptr, 0));
    expect_error(sdn_upload(exec, data, nullptr, 4), SDN_ERROR_INVALID_ARGUMENT, {"source is NULL"});
    expect_error(sdn_download(exec, nullptr, data, 4), SDN_ERROR_INVALID_ARGUMENT, {"destination is NULL"});
    expect_error(sdn_upload(exec, data, from.data(), -1), SDN_ERROR_INVALID_ARGUMENT, {"-1"});
}

TEST(ExecCancel, CancelledExec_RefusesOpsUntilReset) {
    const Device device("cpu:portable", 1);
    const Exec exec(device);
    const Array x({4});
    ok(sdn_exec_cancel(exec));
    expect_error(sdn_clamp(exec, x(), x(), 0, 1), SDN_ERROR_CANCELLED, {"sdn_clamp", "cancelled"});
    ok(sdn_exec_reset(exec));
    ok(sdn_clamp(exec, x(), x(), 0, 1));
}

TEST(ExecCancel, CancelDuringALoop_SkipsTheRest) {
    for (const int threads : {1, 4}) {
        const std::shared_ptr<sdn::Device> device = sdn::Device::open("cpu", nullptr, threads, SDN_PRECISION_REFERENCE);
        sdn::Exec exec(device, SDN_EXEC_RUN, 0);
        std::atomic<int> calls{0};
        parallel_for(exec, 100000, [&](int64_t, int) {
            if (calls.fetch_add(1) == 10) exec.cancel();
        });
        EXPECT_GE(calls.load(), 11);
        EXPECT_LT(calls.load(), 11 + 1000 * threads);
    }
}

// An attention of some seconds is cancelled when its first rows are there: it must stop long before its last row. (To see the first rows
// the canceller reads what the op writes: a data race, meant.)
TEST_P(ExecModes, CancelDuringALongOp_StopsIt) {
    if (!on_cpu()) GTEST_SKIP() << "an op on a GPU is queued at once; cancelling stops the ones after it";
    const Device device(GetParam(), 2);
    const Exec exec(device, 1 << 28);
    const int64_t length = 8192, width = 1024;
    const Array qkv = Array::random({1, length, width}, 1), out({1, length, width});
    out.fill(7);
    const sdn_attention_params params{16, 0, 0.125f, 0};
    std::atomic<bool> done{false};
    std::thread canceller([&] {
        const volatile float* first = out.floats();
        while (*first == 7.0f && !done.load()) std::this_thread::yield();
        sdn_exec_cancel(exec);
    });
    const sdn_status status = sdn_attention(exec, out(), qkv(), qkv(), qkv(), &params);
    done.store(true);
    canceller.join();
    expect_error(status, SDN_ERROR_CANCELLED, {"sdn_attention"});
    EXPECT_EQ(out[out.size() - 1], 7.0f);
    EXPECT_EQ(exec.stats().live_bytes, 0);
    ok(sdn_exec_reset(exec));
    const Array small({1, 2, width});
    ok(sdn_clamp(exec, small(), small(), 0, 1));
}

}  // namespace sdn::test
