// Streams, events and graphs of a GPU.
#pragma once

#include <array>

#include "cuda/device.h"

namespace sdn::cuda {

class CudaStream final : public Stream {
  public:
    explicit CudaStream(std::shared_ptr<Device> device);
    ~CudaStream() override;

    Queue& queue() { return queue_; }

    void* native() const override { return device_->runtime().emulated() ? nullptr : queue_.stream; }
    void begin_op() override;
    void end_op() override;
    const char* kernels() const override { return queue_.names; }
    void synchronize() override;
    void upload(void* to, const void* from, int64_t bytes) override;
    void download(void* to, const void* from, int64_t bytes) override;
    void begin_capture() override;
    std::unique_ptr<Graph> end_capture() override;
    void launch(Graph& graph) override;

  private:
    // Small uploads pass through pinned memory, so that the host need not wait for the stream.
    struct Slot {
        void* pinned = nullptr;
        void* event = nullptr;
    };
    static constexpr int64_t kSlotBytes = int64_t{256} << 10;

    void upload_slot(char* to, const char* from, int64_t bytes);

    std::shared_ptr<Device> device_;
    Queue queue_;
    bool capturing_ = false;
    std::array<Slot, 4> slots_;
    size_t next_slot_ = 0;
};

class CudaEvent final : public Event {
  public:
    explicit CudaEvent(std::shared_ptr<Device> device);
    ~CudaEvent() override;
    void record(Stream& stream) override;
    bool reached() override;
    void synchronize() override;
    double milliseconds_since(const Event& begin) const override;

  private:
    std::shared_ptr<Device> device_;
    void* event_;
    bool recorded_ = false;
};

class CudaGraph final : public Graph {
  public:
    CudaGraph(std::shared_ptr<Device> device, void* graph) : device_(std::move(device)), graph_(graph) {}
    ~CudaGraph() override;
    void* native() const { return graph_; }

  private:
    std::shared_ptr<Device> device_;
    void* graph_;
};

}  // namespace sdn::cuda
