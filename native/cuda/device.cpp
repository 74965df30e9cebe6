#include "cuda/device.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "core/exec.h"
#include "cuda/stream.h"
#include "cuda/weight.h"

namespace sdn::cuda {

namespace {

bool asks_for_waits() {
    const char* text = std::getenv("SDN_CUDA_SYNC");
    return text != nullptr && std::strcmp(text, "") != 0 && std::strcmp(text, "0") != 0;
}

// N of "cuda:N"; "cuda" is 0.
int parse_index(const std::string& name, int count) {
    if (name == "cuda") return 0;
    const std::string digits = name.substr(5);
    const bool is_number = !digits.empty() && digits.size() < 6 && digits.find_first_not_of("0123456789") == std::string::npos;
    const int index = is_number ? std::atoi(digits.c_str()) : -1;
    if (index < 0 || index >= count)
        fail(SDN_ERROR_NO_DEVICE, "there is no device \"%s\": this machine has cuda:0%s", name.c_str(),
             count > 1 ? (" to cuda:" + std::to_string(count - 1)).c_str() : "");
    return index;
}

const MatrixWeight& matrix_of(const sdn::Weight& weight) {
    return static_cast<const Weight&>(weight).matrix();
}
const NormWeight& norm_of(const sdn::Weight& weight) {
    return static_cast<const Weight&>(weight).norm();
}

}  // namespace

int32_t device_count(std::string& absence) {
    Runtime* runtime = gpu_runtime(absence);
    return runtime != nullptr ? runtime->device_count() : 0;
}

std::string build_text() {
    std::string text = gpu_build_text();
    return emulated_runtime() != nullptr ? text + "; emulation" : text;
}

std::shared_ptr<sdn::Device> open_device(const std::string& name) {
    std::string absence;
    const bool emulated = name == "cuda:emulated";
    Runtime* runtime = emulated ? emulated_runtime() : gpu_runtime(absence);
    if (runtime == nullptr)
        fail(SDN_ERROR_NO_DEVICE, "there is no device \"%s\": %s; \"cpu\" always exists", name.c_str(),
             emulated ? "this library was built without emulation (SDN_EMULATION)" : absence.c_str());
    const int index = emulated ? 0 : parse_index(name, runtime->device_count());

    static std::mutex mutex;
    static std::map<std::pair<Runtime*, int>, std::weak_ptr<Device>> open;
    std::lock_guard lock(mutex);
    std::weak_ptr<Device>& entry = open[{runtime, index}];
    std::shared_ptr<Device> device = entry.lock();
    if (device == nullptr) entry = device = std::make_shared<Device>(*runtime, index);
    return device;
}

Device::Device(Runtime& runtime, int index)
    : runtime_(runtime),
      index_(index),
      properties_(runtime.properties(index)),
      waits_(asks_for_waits()),
      pool_(std::make_shared<Pool>(runtime, index)),
      staging_(*this) {}

std::string Device::name() const {
    return runtime_.emulated() ? "cuda:emulated" : "cuda:" + std::to_string(index_);
}

sdn_device_info Device::info() const {
    sdn_device_info info{};
    info.kind = SDN_DEVICE_CUDA;
    info.index = index_;
    info.threads = 1;
    info.emulated = runtime_.emulated() ? 1 : 0;
    info.multiprocessors = limits().multiprocessors;
    info.threads_per_multiprocessor = limits().threads_per_multiprocessor;
    info.lost = lost_ ? 1 : 0;
    std::snprintf(info.name, sizeof info.name, "%s", properties_.name.c_str());
    std::snprintf(info.instruction_set, sizeof info.instruction_set, "sm_%d", limits().architecture);
    if (lost_) return info;
    runtime_.use(index_);
    runtime_.memory(&info.free_bytes, &info.total_bytes);
    info.free_bytes += pool_->kept_bytes();
    return info;
}

double Device::measure_peak(int32_t, double seconds) {
    CudaStream stream(std::static_pointer_cast<Device>(shared_from_this()));
    CudaEvent begin(std::static_pointer_cast<Device>(shared_from_this())), end(std::static_pointer_cast<Device>(shared_from_this()));
    const auto started = std::chrono::steady_clock::now();
    double best = 0;
    int64_t steps = 1;
    do {
        begin.record(stream);
        const double flops = ops().peak_loop(stream.queue(), steps);
        end.record(stream);
        stream.synchronize();
        const double milliseconds = end.milliseconds_since(begin);
        if (milliseconds < 2) steps *= 2;
        if (milliseconds > 0) best = std::max(best, flops / milliseconds * 1e-6);
    } while (std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count() < seconds);
    return best;
}

void* Device::context() const {
    require_alive();
    runtime_.use(index_);
    return runtime_.context();
}

std::shared_ptr<void> Device::allocate(int64_t bytes, const char* purpose) {
    return on_device([&] { return pool_->allocate(bytes, purpose); });
}

std::unique_ptr<Stream> Device::make_stream() {
    return std::make_unique<CudaStream>(std::static_pointer_cast<Device>(shared_from_this()));
}

std::unique_ptr<Event> Device::make_event() {
    return std::make_unique<CudaEvent>(std::static_pointer_cast<Device>(shared_from_this()));
}

std::unique_ptr<sdn::Weight> Device::make_weight(const sdn_weight_desc& desc) {
    return std::make_unique<Weight>(std::static_pointer_cast<Device>(shared_from_this()), desc);
}

void Device::require_alive() const {
    if (!lost_) return;
    fail(SDN_ERROR_DEVICE, "%s was lost to an earlier fault (%s): start the process again, and use another device meanwhile",
         name().c_str(), fault_.c_str());
}

void Device::report(const Fault& fault) {
    if (fault.sticky()) {
        std::lock_guard lock(fault_mutex_);
        if (!lost_) {
            fault_ = fault.what();
            lost_ = true;
        }
    }
    fail(SDN_ERROR_DEVICE, "%s: %s%s", name().c_str(), fault.what(),
         waits_ ? "" : "; some op queued before may have caused it: run again with SDN_CUDA_SYNC=1 to learn which");
}

// ---- ops -----------------------------------------------------------------------------------------------------------------

void Device::conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn::Weight& weight, const sdn_tensor* channel_add,
                    const sdn_tensor* residual, const sdn_conv2d_params& params) {
    ops().conv2d(exec, out, x, matrix_of(weight), channel_add, residual, params);
}
void Device::linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const sdn::Weight& weight,
                    const sdn_tensor* residual, int32_t activation) {
    ops().linear(exec, out, x, x2, matrix_of(weight), residual, activation);
}
void Device::attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
                       const sdn_attention_params& params) {
    ops().attention(exec, out, q, k, v, params);
}
void Device::group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const sdn::Weight& weight,
                        int32_t groups, float eps, int32_t activation) {
    ops().group_norm(exec, out, x, x2, norm_of(weight), groups, eps, activation);
}
void Device::layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn::Weight& weight, float eps) {
    ops().layer_norm(exec, out, x, norm_of(weight), eps);
}
void Device::activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind) {
    ops().activation(exec, out, x, kind);
}
void Device::embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const sdn::Weight& token, const sdn::Weight* position) {
    ops().embedding(exec, out, ids, static_cast<const Weight&>(token).embedding(),
                    position != nullptr ? &static_cast<const Weight*>(position)->embedding() : nullptr);
}
void Device::gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows) {
    ops().gather_rows(exec, out, x, rows);
}
void Device::timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params) {
    ops().timestep_embedding(exec, out, timesteps, params);
}
void Device::linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients, int32_t count) {
    ops().linear_combination(exec, out, inputs, coefficients, count);
}
void Device::blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask) {
    ops().blend(exec, out, a, b, mask);
}
void Device::clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high) {
    ops().clamp(exec, out, x, low, high);
}
void Device::dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value) {
    ops().dynamic_threshold(exec, out, x, ratio, max_value);
}
void Device::rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor) {
    ops().rescale_guidance(exec, out, guided, cond, factor);
}
void Device::copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    ops().copy(exec, out, x);
}
void Device::image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    ops().image_to_uint8(exec, out, x);
}

bool Device::is_finite(Exec& exec, const sdn_tensor& x) {
    if (exec.capturing()) fail(SDN_ERROR_INVALID_ARGUMENT, "a graph cannot hold sdn_is_finite, whose answer the host waits for");
    auto* flag = static_cast<int32_t*>(exec.scratch_alloc(sizeof(int32_t)));
    int32_t found = 0;
    if (!exec.measuring()) {
        ops().find_nonfinite(exec, flag, x);
        exec.stream().download(&found, flag, sizeof found);
    }
    exec.scratch_free(flag);
    return found == 0;
}

void Device::philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                           int32_t threads_per_multiprocessor) {
    ops().philox_normal(exec, out, seed, offset, multiprocessors, threads_per_multiprocessor);
}

}  // namespace sdn::cuda
