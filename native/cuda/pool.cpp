#include "cuda/pool.h"

#include <algorithm>

#include "core/memory.h"

namespace sdn::cuda {

namespace {

constexpr int64_t kGranule = 512;  // cudaMalloc's own alignment

}  // namespace

Pool::~Pool() {
    for (Block& block : kept_) {
        for (void* event : block.events) runtime_.destroy_event(event);
        runtime_.release(block.data);
    }
}

std::shared_ptr<void> Pool::allocate(int64_t bytes, const char* purpose) {
    const int64_t wanted = round_up(bytes, kGranule);
    std::lock_guard lock(mutex_);
    runtime_.use(index_);
    collect();
    int64_t size = wanted;
    void* data = take(wanted, &size);
    if (data == nullptr) data = runtime_.allocate(wanted);
    if (data == nullptr) {
        release_kept();
        data = runtime_.allocate(wanted);
    }
    if (data == nullptr) {
        int64_t free = 0, total = 0;
        runtime_.memory(&free, &total);
        fail(SDN_ERROR_OUT_OF_MEMORY, "the GPU refused %lld bytes for %s: %lld of its %lld bytes are free", static_cast<long long>(wanted),
             purpose, static_cast<long long>(free), static_cast<long long>(total));
    }
    return {data, [pool = shared_from_this(), size](void* block) { pool->give_back(block, size); }};
}

int64_t Pool::kept_bytes() {
    std::lock_guard lock(mutex_);
    int64_t bytes = 0;
    for (const Block& block : kept_) bytes += block.bytes;
    return bytes;
}

void Pool::add_stream(void* stream) {
    std::lock_guard lock(mutex_);
    streams_.insert(stream);
}
void Pool::remove_stream(void* stream) {
    std::lock_guard lock(mutex_);
    streams_.erase(stream);
    capturing_.erase(stream);
}
void Pool::set_capturing(void* stream, bool capturing) {
    std::lock_guard lock(mutex_);
    if (capturing)
        capturing_.insert(stream);
    else
        capturing_.erase(stream);
}

// A device that is lost gives its memory back with the process: what fails here stays with it.
void Pool::give_back(void* data, int64_t bytes) noexcept {
    try {
        std::lock_guard lock(mutex_);
        runtime_.use(index_);
        Block block{data, bytes, {}};
        for (void* stream : streams_) {
            if (capturing_.count(stream) != 0) continue;
            block.events.push_back(runtime_.make_event());
            runtime_.record(block.events.back(), stream);
        }
        kept_.push_back(std::move(block));
    } catch (...) {
        runtime_.release(data);
    }
}

void Pool::collect() {
    for (Block& block : kept_) {
        const auto reached = [&](void* event) {
            if (!runtime_.reached(event)) return false;
            runtime_.destroy_event(event);
            return true;
        };
        block.events.erase(std::remove_if(block.events.begin(), block.events.end(), reached), block.events.end());
    }
}

// The smallest that fits and wastes at most an eighth.
void* Pool::take(int64_t bytes, int64_t* size) {
    auto best = kept_.end();
    for (auto block = kept_.begin(); block != kept_.end(); ++block)
        if (block->events.empty() && block->bytes >= bytes && block->bytes <= bytes + bytes / 8 &&
            (best == kept_.end() || block->bytes < best->bytes))
            best = block;
    if (best == kept_.end()) return nullptr;
    void* data = best->data;
    *size = best->bytes;
    kept_.erase(best);
    return data;
}

void Pool::release_kept() {
    for (Block& block : kept_)
        for (void* event : block.events) runtime_.synchronize_event(event);
    collect();
    const auto released = [&](const Block& block) {
        if (!block.events.empty()) return false;
        runtime_.release(block.data);
        return true;
    };
    kept_.erase(std::remove_if(kept_.begin(), kept_.end(), released), kept_.end());
}

}  // namespace sdn::cuda
