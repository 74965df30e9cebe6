#include "core/exec.h"

#include <algorithm>

#include "core/error.h"
#include "core/sanitizer.h"
#include "core/thread_pool.h"

namespace sdn {

namespace {

// Addresses of a measured arena begin here: no system maps it, so an access faults at once and nothing real overlaps it.
constexpr uintptr_t kStandInBase = uintptr_t{1} << 62;

std::shared_ptr<void> reserve(Device& device, int mode, int64_t arena_bytes) {
    if (mode == SDN_EXEC_MEASURE) return nullptr;
    if (arena_bytes < 0) fail(SDN_ERROR_INVALID_ARGUMENT, "arena_bytes is %lld", static_cast<long long>(arena_bytes));
    return arena_bytes > 0 ? device.allocate(round_up(arena_bytes, kAlignment), "an arena") : nullptr;
}

}  // namespace

Exec::Exec(std::shared_ptr<Device> device, int mode, int64_t arena_bytes)
    : device_(std::move(device)),
      mode_(mode),
      arena_(mode == SDN_EXEC_MEASURE ? Arena::kUnlimited : arena_bytes),
      stream_(device_->make_stream()),
      memory_(reserve(*device_, mode, arena_bytes)),
      memory_bytes_(memory_ != nullptr ? round_up(arena_bytes, kAlignment) : 0),
      base_(mode == SDN_EXEC_MEASURE ? reinterpret_cast<void*>(kStandInBase) : memory_.get()),
      watched_(memory_ != nullptr && device_->has_host_memory()) {
    if (watched_) forbid_access(base_, memory_bytes_);
}

Exec::~Exec() {
    if (watched_) allow_access(base_, memory_bytes_);
}

// By integers, as a measuring exec has nothing at its addresses, and a pointer to free may come from anywhere.
void* Exec::alloc(int64_t bytes) {
    void* data = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(base_) + static_cast<uintptr_t>(arena_.alloc(bytes)));
    if (watched_) allow_access(data, bytes);
    return data;
}

void Exec::free(void* data) {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(data) - reinterpret_cast<uintptr_t>(base_);
    const int64_t size = arena_.release(static_cast<int64_t>(offset));
    if (watched_) forbid_access(data, size);
}

void Exec::reset() {
    if (watched_) forbid_access(base_, memory_bytes_);
    arena_.reset();
    scratch_.clear();
    flops_ = ops_ = 0;
    cancelled_.store(false, std::memory_order_relaxed);
}

void Exec::begin_op() {
    if (cancelled()) fail(SDN_ERROR_CANCELLED, "the exec was cancelled; sdn_exec_reset() makes it usable again");
    if (!measuring()) stream_->begin_op();
}

void Exec::end_op() {
    if (cancelled()) fail(SDN_ERROR_CANCELLED, "cancelled while it ran");
    if (!scratch_.empty()) fail(SDN_ERROR_INTERNAL, "the op kept %zu scratch blocks", scratch_.size());
    if (!measuring()) stream_->end_op();
    ++ops_;
}

void Exec::abandon_op() noexcept {
    capture_failed_ = true;
    while (!scratch_.empty()) scratch_free(scratch_.back());
}

void Exec::begin_capture() {
    if (measuring()) fail(SDN_ERROR_INVALID_ARGUMENT, "a measuring exec has nothing to capture");
    if (capturing_) fail(SDN_ERROR_INVALID_ARGUMENT, "the exec is capturing already");
    stream_->begin_capture();
    capturing_ = true;
    capture_failed_ = false;
}

std::unique_ptr<Graph> Exec::end_capture() {
    if (!capturing_) fail(SDN_ERROR_INVALID_ARGUMENT, "the exec is not capturing: call sdn_capture_begin() first");
    capturing_ = false;
    std::unique_ptr<Graph> graph = stream_->end_capture();
    if (capture_failed_) fail(SDN_ERROR_INVALID_ARGUMENT, "an op failed during the capture, so there is no graph");
    return graph;
}

sdn_exec_stats Exec::stats() const {
    return {arena_.live_bytes(), arena_.peak_bytes(), flops_, ops_};
}

void* Exec::scratch_alloc(int64_t bytes) {
    scratch_.reserve(scratch_.size() + 1);
    void* data = alloc(bytes);
    scratch_.push_back(data);
    return data;
}

void Exec::scratch_free(void* data) {
    const auto found = std::find(scratch_.begin(), scratch_.end(), data);
    if (found == scratch_.end()) fail(SDN_ERROR_INTERNAL, "the op gave back scratch that it did not take");
    scratch_.erase(found);
    free(data);
}

// ---- what kernels see ----------------------------------------------------------------------------------------------------

void* exec_scratch(Exec& exec, int64_t bytes) {
    return exec.scratch_alloc(bytes);
}
void exec_release(Exec& exec, void* scratch) {
    exec.scratch_free(scratch);
}
bool exec_measuring(const Exec& exec) {
    return exec.measuring();
}
int exec_threads(const Exec& exec) {
    return exec.device().threads();
}

void exec_parallel_for(Exec& exec, int64_t count, void (*fn)(void*, int64_t, int), void* context) {
    struct Call {
        Exec& exec;
        void (*fn)(void*, int64_t, int);
        void* context;
    } call{exec, fn, context};
    ThreadPool::instance().parallel_for(
        exec.device().threads(), count,
        [](void* data, int64_t index, int thread) {
            const Call& c = *static_cast<Call*>(data);
            if (!c.exec.cancelled()) c.fn(c.context, index, thread);
        },
        &call);
}

}  // namespace sdn
