#include "cpu/device.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "core/exec.h"
#include "core/system_info.h"
#include "core/thread_pool.h"
#include "cpu/baseline.h"
#include "cpu/weight.h"

namespace sdn::cpu {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostThreads = 1024;

std::string available_sets() {
    std::string text;
    for (const char* name : {"portable", "avx2", "avx512", "avx512bf16"})
        if (find_kernels(name) != nullptr) text += (text.empty() ? "" : ", ") + std::string(name);
    return text;
}

const Kernels& choose_kernels(const std::string& name, const char* cpu_choice) {
    const bool plain = name == "cpu";
    if (plain && (cpu_choice == nullptr || *cpu_choice == 0)) return *best_kernels();
    const std::string set = plain ? cpu_choice : name.substr(4);
    if (const Kernels* kernels = find_kernels(set.c_str())) return *kernels;
    fail(SDN_ERROR_NO_DEVICE, "%s names the instruction set \"%s\", which is unknown or which this machine lacks: it has %s",
         plain ? "the environment variable SDN_CPU" : "the device name", set.c_str(), available_sets().c_str());
}

[[noreturn]] void fail_without_graphs() {
    fail(SDN_ERROR_UNSUPPORTED, "a CPU device has no graphs: run the ops each time");
}

// Every op is complete when it returns.
class CpuStream final : public Stream {
  public:
    void synchronize() override {}
    void upload(void* to, const void* from, int64_t bytes) override { std::memmove(to, from, static_cast<size_t>(bytes)); }
    void download(void* to, const void* from, int64_t bytes) override { std::memmove(to, from, static_cast<size_t>(bytes)); }
    void begin_capture() override { fail_without_graphs(); }
    std::unique_ptr<Graph> end_capture() override { fail_without_graphs(); }
    void launch(Graph&) override { fail_without_graphs(); }
};

class CpuEvent final : public Event {
  public:
    void record(Stream&) override { time_ = Clock::now(); }
    bool reached() override { return true; }
    void synchronize() override {}
    double milliseconds_since(const Event& begin) const override {
        return std::chrono::duration<double, std::milli>(time_ - static_cast<const CpuEvent&>(begin).time_).count();
    }

  private:
    Clock::time_point time_{};
};

const PackedMatrix& matrix_of(const sdn::Weight& weight) {
    return static_cast<const Weight&>(weight).matrix();
}
const NormWeight& norm_of(const sdn::Weight& weight) {
    return static_cast<const Weight&>(weight).norm();
}

}  // namespace

std::shared_ptr<sdn::Device> open_device(const std::string& name, const char* cpu_choice, int threads, int32_t precision) {
    if (threads < 0 || threads > kMostThreads)
        fail(SDN_ERROR_INVALID_ARGUMENT, "threads is %d: give 1 to %d, or 0 for one per available core", threads, kMostThreads);
    const Kernels& kernels = choose_kernels(name, cpu_choice);
    return std::make_shared<Device>(kernels, threads > 0 ? threads : std::min(available_threads(), kMostThreads), precision);
}

sdn_device_info Device::info() const {
    sdn_device_info info{};
    const MemoryInfo memory = read_memory_info();
    info.kind = SDN_DEVICE_CPU;
    info.threads = threads_;
    info.precision = precision_;
    info.product_dtype = product_dtype();
    info.total_bytes = memory.total_bytes;
    info.free_bytes = memory.free_bytes;
    std::snprintf(info.name, sizeof info.name, "%s", cpu_name().c_str());
    std::snprintf(info.instruction_set, sizeof info.instruction_set, "%s", kernels_.name);
    return info;
}

int32_t Device::product_dtype() const {
    if (precision_ != SDN_PRECISION_FAST) return SDN_FLOAT32;
    return kernels_.pairs ? SDN_BFLOAT16 : can_multiply_halves(kernels_) ? SDN_FLOAT16 : SDN_FLOAT32;
}

// What values beside weights of a dtype are multiplied in: halves serve both 16-bit types, and what is multiplied beside weights in bytes
// but is none; pairs bfloat16 alone.
int32_t Device::product_dtype_for(int32_t dtype) const {
    const int32_t narrow = product_dtype();
    return dtype == narrow || (narrow == SDN_FLOAT16 && (dtype == SDN_BFLOAT16 || dtype == SDN_INT8)) ? narrow : SDN_FLOAT32;
}

double Device::measure_peak(int32_t dtype, double seconds) {
    struct Run {
        double (*loop)(int64_t multiply_adds);
        int64_t multiply_adds;
        double flops;
    };
    // Four pieces per thread, so that a thread that begins late costs little.
    const int64_t pieces = 4 * threads_;
    const auto time_run = [&](Run& run) {
        const auto begin = Clock::now();
        ThreadPool::instance().parallel_for(
            threads_, pieces,
            [](void* context, int64_t index, int) {
                Run& r = *static_cast<Run*>(context);
                const double flops = r.loop(r.multiply_adds);
                if (index == 0) r.flops = flops;
            },
            &run);
        return std::chrono::duration<double>(Clock::now() - begin).count();
    };

    ThreadPool::instance().ensure(threads_);
    Run run{product_dtype_for(dtype) == SDN_FLOAT32 ? kernels_.peak_loop : kernels_.peak_narrow, 1 << 20, 0};
    while (time_run(run) < 0.01) run.multiply_adds *= 2;
    const auto begin = Clock::now();
    double best = 0;
    do {
        const double elapsed = time_run(run);
        best = std::max(best, static_cast<double>(pieces) * run.flops / elapsed);
    } while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds);
    return best * 1e-9;
}

bool Device::shares_weights_with(const sdn::Device& other) const {
    const auto* device = dynamic_cast<const Device*>(&other);
    return device != nullptr && &device->kernels_ == &kernels_ && device->precision_ == precision_;
}

std::shared_ptr<void> Device::allocate(int64_t bytes, const char* purpose) {
    const int64_t total = read_memory_info().total_bytes;
    if (bytes > total)
        fail(SDN_ERROR_OUT_OF_MEMORY, "%s of %lld bytes was asked for, but all the memory this process may use is %lld bytes", purpose,
             static_cast<long long>(bytes), static_cast<long long>(total));
    auto memory = std::make_shared<Memory>(bytes, purpose);
    void* data = memory->data();
    return {std::move(memory), data};
}

std::unique_ptr<Stream> Device::make_stream() {
    ThreadPool::instance().ensure(threads_);
    return std::make_unique<CpuStream>();
}

std::unique_ptr<Event> Device::make_event() {
    return std::make_unique<CpuEvent>();
}

std::unique_ptr<sdn::Weight> Device::make_weight(const sdn_weight_desc& desc) {
    return std::make_unique<Weight>(shared_from_this(), kernels_, precision_ == SDN_PRECISION_FAST, desc);
}

// ---- ops -----------------------------------------------------------------------------------------------------------------

void Device::conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn::Weight& weight, const sdn_tensor* channel_add,
                    const sdn_tensor* residual, const sdn_conv2d_params& params) {
    kernels_.conv2d(exec, out, x, matrix_of(weight), channel_add, residual, params);
}
void Device::linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const sdn::Weight& weight,
                    const sdn_tensor* residual, int32_t activation) {
    kernels_.linear(exec, out, x, x2, matrix_of(weight), residual, activation);
}
void Device::attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
                       const sdn_attention_params& params) {
    kernels_.attention(exec, out, q, k, v, params, product_dtype_for(params.operands));
}
void Device::group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const sdn::Weight& weight,
                        int32_t groups, float eps, int32_t activation) {
    kernels_.group_norm(exec, out, x, x2, norm_of(weight), groups, eps, activation);
}
void Device::layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn::Weight& weight, float eps) {
    kernels_.layer_norm(exec, out, x, norm_of(weight), eps);
}
void Device::activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind) {
    kernels_.activation(exec, out, x, kind);
}
void Device::embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const sdn::Weight& token, const sdn::Weight* position) {
    cpu::embedding(exec, out, ids, static_cast<const Weight&>(token).embedding(),
                   position != nullptr ? &static_cast<const Weight*>(position)->embedding() : nullptr);
}
void Device::gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows) {
    cpu::gather_rows(exec, out, x, rows);
}
void Device::timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params) {
    cpu::timestep_embedding(exec, out, timesteps, params);
}
void Device::linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients, int32_t count) {
    cpu::linear_combination(exec, out, inputs, coefficients, count);
}
void Device::blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask) {
    cpu::blend(exec, out, a, b, mask);
}
void Device::clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high) {
    cpu::clamp(exec, out, x, low, high);
}
void Device::dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value) {
    cpu::dynamic_threshold(exec, out, x, ratio, max_value);
}
void Device::rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor) {
    cpu::rescale_guidance(exec, out, guided, cond, factor);
}
void Device::copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    cpu::copy(exec, out, x);
}
void Device::image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    cpu::image_to_uint8(exec, out, x);
}
bool Device::is_finite(Exec& exec, const sdn_tensor& x) {
    return cpu::is_finite(exec, x);
}
void Device::philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                           int32_t threads_per_multiprocessor) {
    cpu::philox_normal(exec, out, seed, offset, multiprocessors, threads_per_multiprocessor);
}

}  // namespace sdn::cpu
