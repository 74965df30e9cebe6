// Where an op runs: a device, its arena, its statistics, its cancellation.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "core/exec_api.h"
#include "core/memory.h"
#include "cpu/kernel_api.h"

namespace sdn {

struct Exec {
    Exec(std::shared_ptr<Device> device, int mode, int64_t arena_bytes);
    ~Exec();
    Exec(const Exec&) = delete;
    Exec& operator=(const Exec&) = delete;

    bool measuring() const { return mode_ == SDN_EXEC_MEASURE; }
    bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
    void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
    Device& device() const { return *device_; }
    const std::shared_ptr<Device>& shared_device() const { return device_; }
    Stream& stream() const { return *stream_; }
    const Arena& arena() const { return arena_; }

    void* alloc(int64_t bytes);
    void free(void* data);
    void reset();

    void begin_capture();
    std::unique_ptr<Graph> end_capture();  // fails when an op failed meanwhile
    bool capturing() const { return capturing_; }

    // Bookkeeping of one op: begin, its flops, end. end_op() fails where the op was cancelled, abandon_op() gives back its scratch.
    void begin_op();
    void count_flops(int64_t flops) { flops_ += flops; }
    void end_op();
    void abandon_op() noexcept;
    sdn_exec_stats stats() const;

    void* scratch_alloc(int64_t bytes);
    void scratch_free(void* data);

  private:
    std::shared_ptr<Device> device_;
    int mode_;
    Arena arena_;
    std::unique_ptr<Stream> stream_;
    std::shared_ptr<void> memory_;
    int64_t memory_bytes_;
    void* base_;
    bool watched_;  // by a sanitizer
    bool capturing_ = false, capture_failed_ = false;
    std::atomic<bool> cancelled_{false};
    int64_t flops_ = 0;
    int64_t ops_ = 0;
    std::vector<void*> scratch_;  // of the current op
};

// exec_parallel_for for a lambda body(index, thread).
template <class Body>
void parallel_for(Exec& exec, int64_t count, Body&& body) {
    exec_parallel_for(
        exec, count, [](void* context, int64_t index, int thread) { (*static_cast<Body*>(context))(index, thread); }, &body);
}

// Splits [0, count) into pieces of `piece` and calls body(begin, end) for each. The pieces do not depend on the number of threads.
template <class Body>
void parallel_for_pieces(Exec& exec, int64_t count, int64_t piece, Body&& body) {
    parallel_for(exec, (count + piece - 1) / piece,
                 [&](int64_t index, int) { body(index * piece, count < (index + 1) * piece ? count : (index + 1) * piece); });
}

// Elements per piece of a cheap elementwise op: some microseconds of work, below which a second thread does not pay.
inline constexpr int64_t kElementPiece = 16384;

}  // namespace sdn

struct sdn_exec : sdn::Exec {
    using sdn::Exec::Exec;
};
