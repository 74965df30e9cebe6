#include "cuda/stream.h"

#include <algorithm>
#include <cstring>

#include "core/exec.h"

namespace sdn::cuda {

Queue& exec_queue(Exec& exec) {
    return static_cast<CudaStream&>(exec.stream()).queue();
}

// ---- what launch() calls -------------------------------------------------------------------------------------------------

void Queue::begin_launch(const char* name) {
    device->require_alive();
    const size_t used = std::strlen(names);
    if (used + 4 < sizeof names) {
        std::strncat(names, used > 0 ? " + " : "", sizeof names - 1 - used);
        std::strncat(names, name, sizeof names - 1 - std::strlen(names));
    }
    device->on_device([&] { device->runtime().before_launch(stream, name); });
}

void Queue::end_launch(const char* name, int error, const char* text) {
    if (error != 0) device->report(Fault(std::string("launching ") + name + ": " + text, device->runtime().is_sticky(error)));
}

// ---- CudaStream ----------------------------------------------------------------------------------------------------------

CudaStream::CudaStream(std::shared_ptr<Device> device) : device_(std::move(device)) {
    queue_.limits = device_->limits();
    queue_.device = device_.get();
    device_->on_device([&] { queue_.stream = device_->runtime().make_stream(); });
    device_->pool().add_stream(queue_.stream);
}

CudaStream::~CudaStream() {
    Runtime& runtime = device_->runtime();
    device_->pool().remove_stream(queue_.stream);
    for (const Slot& slot : slots_) {
        if (slot.pinned == nullptr) continue;
        try {
            runtime.synchronize_event(slot.event);
        } catch (const Fault&) {
            // The device is lost; nothing reads the slot any more.
        }
        runtime.destroy_event(slot.event);
        runtime.release_pinned(slot.pinned);
    }
    runtime.destroy_stream(queue_.stream);
}

void CudaStream::begin_op() {
    device_->require_alive();
    queue_.names[0] = 0;
    device_->on_device([] {});
}

void CudaStream::end_op() {
    if (device_->waits_after_each_op() && !capturing_) synchronize();
}

void CudaStream::synchronize() {
    device_->on_device([&] { device_->runtime().synchronize_stream(queue_.stream); });
}

void CudaStream::upload(void* to, const void* from, int64_t bytes) {
    char* target = static_cast<char*>(to);
    const char* source = static_cast<const char*>(from);
    device_->on_device([&] {
        if (bytes > 2 * kSlotBytes) {  // the driver stages large pageable copies itself
            device_->runtime().copy(queue_.stream, target, source, bytes, true);
            return;
        }
        for (int64_t done = 0; done < bytes; done += kSlotBytes)
            upload_slot(target + done, source + done, std::min(kSlotBytes, bytes - done));
    });
}

void CudaStream::upload_slot(char* to, const char* from, int64_t bytes) {
    Runtime& runtime = device_->runtime();
    Slot& slot = slots_[next_slot_++ % slots_.size()];
    if (slot.pinned == nullptr) {
        slot.event = runtime.make_event();
        slot.pinned = runtime.allocate_pinned(kSlotBytes);
    } else {
        runtime.synchronize_event(slot.event);
    }
    std::memcpy(slot.pinned, from, static_cast<size_t>(bytes));
    runtime.copy(queue_.stream, to, slot.pinned, bytes, true);
    runtime.record(slot.event, queue_.stream);
}

void CudaStream::download(void* to, const void* from, int64_t bytes) {
    device_->on_device([&] {
        device_->runtime().copy(queue_.stream, to, from, bytes, false);
        device_->runtime().synchronize_stream(queue_.stream);
    });
}

void CudaStream::begin_capture() {
    synchronize();  // from here on a freed block need not wait for this stream
    device_->pool().set_capturing(queue_.stream, true);
    try {
        device_->on_device([&] { device_->runtime().begin_capture(queue_.stream); });
    } catch (...) {
        device_->pool().set_capturing(queue_.stream, false);
        throw;
    }
    capturing_ = true;
}

std::unique_ptr<Graph> CudaStream::end_capture() {
    capturing_ = false;
    device_->pool().set_capturing(queue_.stream, false);
    void* graph = device_->on_device([&] { return device_->runtime().end_capture(queue_.stream); });
    return std::make_unique<CudaGraph>(device_, graph);
}

void CudaStream::launch(Graph& graph) {
    std::strcpy(queue_.names, "graph");
    device_->on_device([&] { device_->runtime().launch(static_cast<CudaGraph&>(graph).native(), queue_.stream); });
}

// ---- CudaEvent, CudaGraph ------------------------------------------------------------------------------------------------

CudaEvent::CudaEvent(std::shared_ptr<Device> device)
    : device_(std::move(device)), event_(device_->on_device([&] { return device_->runtime().make_event(); })) {}

CudaEvent::~CudaEvent() {
    device_->runtime().destroy_event(event_);
}

void CudaEvent::record(Stream& stream) {
    device_->on_device([&] { device_->runtime().record(event_, static_cast<CudaStream&>(stream).queue().stream); });
    recorded_ = true;
}

bool CudaEvent::reached() {
    return !recorded_ || device_->on_device([&] { return device_->runtime().reached(event_); });
}

void CudaEvent::synchronize() {
    if (recorded_) device_->on_device([&] { device_->runtime().synchronize_event(event_); });
}

double CudaEvent::milliseconds_since(const Event& begin) const {
    const CudaEvent& first = static_cast<const CudaEvent&>(begin);
    if (!recorded_ || !first.recorded_) fail(SDN_ERROR_INVALID_ARGUMENT, "both events must have been recorded");
    return device_->on_device([&] { return device_->runtime().milliseconds(first.event_, event_); });
}

CudaGraph::~CudaGraph() {
    try {
        device_->on_device([&] { device_->runtime().synchronize_device(); });
    } catch (const Error&) {
        // The device is lost: nothing runs on it any more.
    }
    device_->runtime().destroy_graph(graph_);
}

}  // namespace sdn::cuda
