#include "core/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace sdn {

namespace {

// A small model runs thousands of ops of some microseconds: waking a sleeping thread costs as much as such an op, so a thread looks
// for work this long before it sleeps.
constexpr auto kSpinTime = std::chrono::microseconds(60);

inline void pause_briefly() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins until done() or the time is over; true if done() became true.
template <class Done>
bool spin_until(Done done) {
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
        for (int i = 0; i < 64; ++i) {
            if (done()) return true;
            pause_briefly();
        }
        if (std::chrono::steady_clock::now() - begin > kSpinTime) return done();
    }
}

struct Job {
    ParallelFunction fn;
    void* context;
    int64_t count;
    int helpers_wanted;
    int helpers_joined = 0;        // guarded by the pool's mutex; also numbers the helpers' thread indices
    std::atomic<int64_t> next{0};  // first index not begun
    std::atomic<int> helpers_inside{0};
    std::atomic<bool> failed{false};
    std::mutex failure_mutex;
    std::exception_ptr failure;
};

}  // namespace

struct ThreadPool::State {
    std::mutex mutex;
    std::condition_variable work_cv;  // workers sleep here
    std::condition_variable done_cv;  // callers whose last helpers are still inside sleep here
    std::vector<Job*> jobs;           // those that may want helpers
    std::vector<std::thread> workers;
    int sleeping_workers = 0;               // guarded by mutex
    std::atomic<uint64_t> publications{0};  // counts new jobs: what a spinning worker looks at
    std::atomic<int> sleeping_callers{0};
    std::atomic<int> worker_count{0};
    std::atomic<bool> stopping{false};

    // A worker leaves early when the process ends; the caller then does the rest.
    void run_indices(Job& job, int thread) {
        while (!job.failed.load(std::memory_order_relaxed) && (thread == 0 || !stopping.load(std::memory_order_relaxed))) {
            const int64_t index = job.next.fetch_add(1, std::memory_order_relaxed);
            if (index >= job.count) return;
            try {
                job.fn(job.context, index, thread);
            } catch (...) {
                std::lock_guard lock(job.failure_mutex);
                if (!job.failed.exchange(true)) job.failure = std::current_exception();
            }
        }
    }

    // The job with the fewest helpers among those that want more, or nullptr. Call under the mutex.
    Job* job_to_help() {
        Job* best = nullptr;
        for (Job* job : jobs) {
            if (job->helpers_joined >= job->helpers_wanted || job->next.load(std::memory_order_relaxed) >= job->count) continue;
            if (best == nullptr || job->helpers_joined < best->helpers_joined) best = job;
        }
        return best;
    }

    void help(Job& job, int thread) {
        run_indices(job, thread);
        // After this the caller may return and the job be gone.
        if (job.helpers_inside.fetch_sub(1) == 1 && sleeping_callers.load() > 0) {
            std::lock_guard lock(mutex);
            done_cv.notify_all();
        }
    }

    void work() {
        uint64_t seen = publications.load();
        for (;;) {
            Job* job = nullptr;
            int thread = 0;
            {
                std::unique_lock lock(mutex);
                while (!stopping.load() && (job = job_to_help()) == nullptr) {
                    seen = publications.load();
                    lock.unlock();
                    const bool found = spin_until([&] { return publications.load(std::memory_order_relaxed) != seen || stopping.load(); });
                    lock.lock();
                    if (found || publications.load() != seen || stopping.load()) continue;
                    ++sleeping_workers;
                    work_cv.wait(lock, [&] { return publications.load() != seen || stopping.load(); });
                    --sleeping_workers;
                }
                if (stopping.load()) return;
                thread = ++job->helpers_joined;
                job->helpers_inside.fetch_add(1);
            }
            help(*job, thread);
        }
    }
};

// At unload or exit the workers must be gone before their code is. The state itself is never freed: a thread that is still computing
// then finishes alone. On Windows a destructor that runs under the loader lock cannot join threads, and at exit they are gone already.
struct PoolStopper {
    ~PoolStopper() {
#if !defined(_WIN32)
        ThreadPool::instance().stop();
#endif
    }
};

ThreadPool::ThreadPool() : state_(new State) {}

ThreadPool& ThreadPool::instance() {
    static ThreadPool* const pool = new ThreadPool;
    static PoolStopper stopper;
    return *pool;
}

void ThreadPool::ensure(int threads) {
    State& state = *state_;
    if (state.worker_count.load(std::memory_order_relaxed) >= threads - 1) return;
    std::lock_guard lock(state.mutex);
    if (state.stopping.load()) return;
    try {
        while (static_cast<int>(state.workers.size()) < threads - 1) state.workers.emplace_back([&state] { state.work(); });
    } catch (const std::system_error&) {
        // The system gives no more threads: those that exist do the work.
    }
    state.worker_count.store(static_cast<int>(state.workers.size()));
}

int ThreadPool::workers() const {
    return state_->worker_count.load();
}

void ThreadPool::parallel_for(int threads, int64_t count, ParallelFunction fn, void* context) {
    if (count <= 0) return;
    State& state = *state_;
    if (threads <= 1 || count == 1 || state.stopping.load(std::memory_order_relaxed)) {
        for (int64_t index = 0; index < count; ++index) fn(context, index, 0);
        return;
    }
    Job job;
    job.fn = fn;
    job.context = context;
    job.count = count;
    job.helpers_wanted = static_cast<int>(std::min<int64_t>(threads - 1, count - 1));
    bool wake;
    {
        std::lock_guard lock(state.mutex);
        state.jobs.push_back(&job);
        state.publications.fetch_add(1);
        wake = state.sleeping_workers > 0;
    }
    if (wake) {
        if (job.helpers_wanted == 1)
            state.work_cv.notify_one();
        else
            state.work_cv.notify_all();
    }
    state.run_indices(job, 0);
    {
        std::lock_guard lock(state.mutex);
        state.jobs.erase(std::find(state.jobs.begin(), state.jobs.end(), &job));  // from here on nobody joins
    }
    const auto alone = [&] { return job.helpers_inside.load() == 0; };
    if (!alone() && !spin_until(alone)) {
        std::unique_lock lock(state.mutex);
        state.sleeping_callers.fetch_add(1);
        state.done_cv.wait(lock, alone);
        state.sleeping_callers.fetch_sub(1);
    }
    if (job.failed.load()) std::rethrow_exception(job.failure);
}

void ThreadPool::stop() {
    State& state = *state_;
    std::vector<std::thread> workers;
    {
        std::lock_guard lock(state.mutex);
        state.stopping.store(true);
        workers.swap(state.workers);
    }
    state.work_cv.notify_all();
    for (std::thread& worker : workers) worker.join();
}

}  // namespace sdn
