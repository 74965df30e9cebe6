// A GPU, or the emulated one. One object per GPU, however often it is opened.
#pragma once

#include <atomic>

#include "core/device.h"
#include "cuda/pool.h"
#include "cuda/staging.h"

namespace sdn::cuda {

// How many GPUs there are; where none, why.
int32_t device_count(std::string& absence);
// name: "cuda", "cuda:N" or "cuda:emulated".
std::shared_ptr<sdn::Device> open_device(const std::string& name);
// For sdn_build_info().
std::string build_text();

class Device final : public sdn::Device {
  public:
    Device(Runtime& runtime, int index);

    std::string name() const override;
    sdn_device_info info() const override;
    double measure_peak(int32_t dtype, double seconds) override;
    void* context() const override;
    bool computes_in(int32_t dtype) const override { return dtype == SDN_FLOAT32 || dtype == SDN_FLOAT16 || dtype == SDN_BFLOAT16; }
    bool has_host_memory() const override { return runtime_.emulated(); }
    bool shares_weights_with(const sdn::Device& other) const override { return &other == this; }

    std::shared_ptr<void> allocate(int64_t bytes, const char* purpose) override;
    std::unique_ptr<Stream> make_stream() override;
    std::unique_ptr<Event> make_event() override;
    std::unique_ptr<Weight> make_weight(const sdn_weight_desc& desc) override;

    Runtime& runtime() const { return runtime_; }
    const Ops& ops() const { return runtime_.ops(); }
    const Limits& limits() const { return properties_.limits; }
    Pool& pool() const { return *pool_; }
    Staging& staging() { return staging_; }
    bool waits_after_each_op() const { return waits_; }

    // Runs a call of the runtime on this device; a sticky fault marks the device as lost.
    template <class Call>
    auto on_device(Call&& call) -> decltype(call()) {
        require_alive();
        try {
            runtime_.use(index_);
            return call();
        } catch (const Fault& fault) {
            report(fault);
        }
    }
    void require_alive() const;
    [[noreturn]] void report(const Fault& fault);

    void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const Weight& weight, const sdn_tensor* channel_add,
                const sdn_tensor* residual, const sdn_conv2d_params& params) override;
    void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const Weight& weight,
                const sdn_tensor* residual, int32_t activation) override;
    void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
                   const sdn_attention_params& params) override;
    void group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const Weight& weight, int32_t groups,
                    float eps, int32_t activation) override;
    void layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const Weight& weight, float eps) override;
    void activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind) override;
    void embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const Weight& token, const Weight* position) override;
    void gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows) override;
    void timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params) override;
    void linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients,
                            int32_t count) override;
    void blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask) override;
    void clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high) override;
    void dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value) override;
    void rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor) override;
    void copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) override;
    void image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) override;
    bool is_finite(Exec& exec, const sdn_tensor& x) override;
    void philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                       int32_t threads_per_multiprocessor) override;

  private:
    Runtime& runtime_;
    int index_;
    Properties properties_;
    bool waits_;  // SDN_CUDA_SYNC=1
    std::atomic<bool> lost_{false};
    std::string fault_;  // that lost it
    std::mutex fault_mutex_;
    std::shared_ptr<Pool> pool_;
    Staging staging_;
};

}  // namespace sdn::cuda
