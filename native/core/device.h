// An open device, whatever its kind: memory, streams, events, weights and the ops. Shared by its handle, its execs and its weights; it
// goes with the last of them. cpu/device.h and cuda/device.h implement it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "sdn.h"

namespace sdn {

struct Exec;
class Weight;

// A sequence of ops captured once.
class Graph {
  public:
    virtual ~Graph() = default;
};

// The order in which an exec's ops run. On a device that computes at once there is nothing to wait for.
class Stream {
  public:
    virtual ~Stream() = default;
    virtual void* native() const { return nullptr; }
    // Around each op; kernels() then names what it ran.
    virtual void begin_op() {}
    virtual void end_op() {}
    virtual const char* kernels() const { return ""; }
    virtual void synchronize() = 0;
    virtual void upload(void* to, const void* from, int64_t bytes) = 0;
    virtual void download(void* to, const void* from, int64_t bytes) = 0;
    virtual void begin_capture() = 0;
    virtual std::unique_ptr<Graph> end_capture() = 0;
    virtual void launch(Graph& graph) = 0;
};

// A point in a stream's work.
class Event {
  public:
    virtual ~Event() = default;
    virtual void record(Stream& stream) = 0;
    virtual bool reached() = 0;
    virtual void synchronize() = 0;
    virtual double milliseconds_since(const Event& begin) const = 0;
};

class Device : public std::enable_shared_from_this<Device> {
  public:
    // name as in sdn_device_open(); cpu_choice: the value of SDN_CPU, or nullptr. threads: 0 = as many as the machine gives.
    static std::shared_ptr<Device> open(const std::string& name, const char* cpu_choice, int threads, int32_t precision);

    virtual ~Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    virtual std::string name() const = 0;  // "cpu:avx512", "cuda:0"
    virtual sdn_device_info info() const = 0;
    virtual double measure_peak(int32_t dtype, double seconds) = 0;  // GFLOP/s, beside weights of that dtype
    virtual int threads() const { return 1; }
    virtual void* context() const { return nullptr; }
    // Whether activations may have this dtype.
    virtual bool computes_in(int32_t dtype) const = 0;
    // Whether the host can read and write its memory (so that a sanitizer may watch it).
    virtual bool has_host_memory() const = 0;
    // Whether weights made for the other device can be used on this one.
    virtual bool shares_weights_with(const Device& other) const = 0;

    // Memory until the last copy of the pointer goes. `purpose` completes "... bytes for <purpose>". Not zeroed on every kind of device.
    virtual std::shared_ptr<void> allocate(int64_t bytes, const char* purpose) = 0;
    virtual std::unique_ptr<Stream> make_stream() = 0;
    virtual std::unique_ptr<Event> make_event() = 0;
    // desc has been checked by api/weight.cpp.
    virtual std::unique_ptr<Weight> make_weight(const sdn_weight_desc& desc) = 0;

    void* buffer_alloc(int64_t bytes);
    void buffer_free(void* data);

    // ---- ops: shapes and dtypes have been checked by api/ ----
    virtual void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const Weight& weight, const sdn_tensor* channel_add,
                        const sdn_tensor* residual, const sdn_conv2d_params& params) = 0;
    virtual void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const Weight& weight,
                        const sdn_tensor* residual, int32_t activation) = 0;
    virtual void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
                           const sdn_attention_params& params) = 0;
    virtual void group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const Weight& weight,
                            int32_t groups, float eps, int32_t activation) = 0;
    virtual void layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const Weight& weight, float eps) = 0;
    virtual void activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind) = 0;
    virtual void embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const Weight& token, const Weight* position) = 0;
    virtual void gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows) = 0;
    virtual void timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params) = 0;
    virtual void linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients,
                                    int32_t count) = 0;
    virtual void blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask) = 0;
    virtual void clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high) = 0;
    virtual void dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value) = 0;
    virtual void rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor) = 0;
    virtual void copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) = 0;
    virtual void image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) = 0;
    virtual bool is_finite(Exec& exec, const sdn_tensor& x) = 0;
    virtual void philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                               int32_t threads_per_multiprocessor) = 0;

  protected:
    Device() = default;

  private:
    std::mutex buffers_mutex_;
    std::map<void*, std::shared_ptr<void>> buffers_;
};

}  // namespace sdn

struct sdn_device {
    std::shared_ptr<sdn::Device> device;
};
struct sdn_event {
    std::shared_ptr<sdn::Device> device;
    std::unique_ptr<sdn::Event> event;
};
struct sdn_graph {
    std::shared_ptr<sdn::Device> device;
    std::unique_ptr<sdn::Graph> graph;
};
