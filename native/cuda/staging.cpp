#include "cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "cuda/device.h"

namespace sdn::cuda {

Staging::~Staging() {
    Runtime& runtime = device_.runtime();
    for (const std::unique_ptr<Lane>& lane : lanes_) {
        device_.pool().remove_stream(lane->queue.stream);
        for (void* event : lane->events) runtime.destroy_event(event);
        runtime.release_pinned(lane->pinned);
        runtime.destroy_stream(lane->queue.stream);
    }
}

std::unique_ptr<Staging::Lane> Staging::make_lane() {
    Runtime& runtime = device_.runtime();
    auto lane = std::make_unique<Lane>();
    lane->device_memory = device_.allocate(2 * kHalfBytes, "a staging buffer");
    device_.on_device([&] {
        lane->queue.limits = device_.limits();
        lane->queue.device = &device_;
        lane->queue.stream = runtime.make_stream();
        lane->pinned = runtime.allocate_pinned(2 * kHalfBytes);
        for (void*& event : lane->events) event = runtime.make_event();
    });
    device_.pool().add_stream(lane->queue.stream);
    return lane;
}

Staging::Lane* Staging::borrow() {
    std::unique_lock lock(mutex_);
    while (free_.empty()) {
        if (lanes_.size() < kMostLanes) {
            lanes_.push_back(make_lane());
            return lanes_.back().get();
        }
        returned_.wait(lock);
    }
    Lane* lane = free_.back();
    free_.pop_back();
    return lane;
}

void Staging::give_back(Lane* lane) {
    lane->queue.names[0] = 0;
    {
        std::lock_guard lock(mutex_);
        free_.push_back(lane);
    }
    returned_.notify_one();
}

int64_t Staging::Loan::rows_per_piece(int64_t row_bytes) {
    return std::max<int64_t>(1, kHalfBytes / row_bytes);
}

const void* Staging::Loan::send_piece(const char* source, int64_t bytes) {
    Device& device = staging_.device_;
    Runtime& runtime = device.runtime();
    lane_->queue.names[0] = 0;
    if (bytes > kHalfBytes) {
        oversized_ = device.allocate(bytes, "a staging buffer");
        device.on_device([&] { runtime.copy(lane_->queue.stream, oversized_.get(), source, bytes, true); });
        return oversized_.get();
    }
    char* pinned = static_cast<char*>(lane_->pinned) + half_ * kHalfBytes;
    char* target = static_cast<char*>(lane_->device_memory.get()) + half_ * kHalfBytes;
    device.on_device([&] {
        runtime.synchronize_event(lane_->events[half_]);
        std::memcpy(pinned, source, static_cast<size_t>(bytes));
        runtime.copy(lane_->queue.stream, target, pinned, bytes, true);
    });
    return target;
}

void Staging::Loan::piece_sent() {
    Device& device = staging_.device_;
    device.on_device([&] { device.runtime().record(lane_->events[half_], lane_->queue.stream); });
    half_ ^= 1;
}

void Staging::Loan::receive(void* target, const void* source, int64_t bytes) {
    Device& device = staging_.device_;
    device.on_device([&] { device.runtime().copy(lane_->queue.stream, target, source, bytes, false); });
    finish();
}

void Staging::Loan::finish() {
    Device& device = staging_.device_;
    device.on_device([&] { device.runtime().synchronize_stream(lane_->queue.stream); });
    oversized_ = nullptr;
}

}  // namespace sdn::cuda
