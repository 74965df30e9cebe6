// The process's worker threads, shared by all devices and all concurrent callers.
#pragma once

#include <atomic>
#include <cstdint>

namespace sdn {

using ParallelFunction = void (*)(void* context, int64_t index, int thread);

class ThreadPool {
  public:
    static ThreadPool& instance();

    // Makes sure that there are workers for a caller that wants `threads` threads, itself included.
    void ensure(int threads);

    // Calls fn(context, index, thread) once for each index in [0, count) on at most `threads` threads, with 0 <= thread < threads, and
    // returns when all calls have returned. The caller works too, as thread 0, and never waits for a worker that has not begun to help:
    // so it finishes even when every worker is busy, and calls may nest. The first exception of a call is rethrown here, and the
    // indices not yet begun are then skipped.
    void parallel_for(int threads, int64_t count, ParallelFunction fn, void* context);

    int workers() const;

  private:
    ThreadPool();
    ~ThreadPool() = delete;  // lives as long as the process: see stop_at_unload

    friend struct PoolStopper;
    void stop();

    struct State;
    State* state_;
};

}  // namespace sdn
