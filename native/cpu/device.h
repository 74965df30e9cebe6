// The processor as a device.
#pragma once

#include "core/device.h"
#include "cpu/kernels.h"

namespace sdn::cpu {

// name: "cpu" or "cpu:<instruction set>". See sdn::Device::open().
std::shared_ptr<sdn::Device> open_device(const std::string& name, const char* cpu_choice, int threads, int32_t precision);

class Device final : public sdn::Device {
  public:
    Device(const Kernels& kernels, int threads, int32_t precision) : kernels_(kernels), threads_(threads), precision_(precision) {}

    std::string name() const override { return std::string("cpu:") + kernels_.name; }
    sdn_device_info info() const override;
    double measure_peak(int32_t dtype, double seconds) override;
    int threads() const override { return threads_; }
    bool computes_in(int32_t dtype) const override { return dtype == SDN_FLOAT32; }
    bool has_host_memory() const override { return true; }
    // What weights kept in 16 bits are multiplied in: SDN_FLOAT32, or in fast precision what the instruction set has.
    int32_t product_dtype() const;
    int32_t product_dtype_for(int32_t dtype) const;
    bool shares_weights_with(const sdn::Device& other) const override;

    std::shared_ptr<void> allocate(int64_t bytes, const char* purpose) override;
    std::unique_ptr<Stream> make_stream() override;
    std::unique_ptr<Event> make_event() override;
    std::unique_ptr<Weight> make_weight(const sdn_weight_desc& desc) override;

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
    const Kernels& kernels_;
    int threads_;
    int32_t precision_;
};

}  // namespace sdn::cpu
