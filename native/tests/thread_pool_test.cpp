#include "core/thread_pool.h"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>

#include "tests/support.h"

namespace sdn::test {

namespace {

template <class Body>
void run(int threads, int64_t count, Body&& body) {
    ThreadPool::instance().ensure(threads);
    ThreadPool::instance().parallel_for(
        threads, count, [](void* context, int64_t index, int thread) { (*static_cast<Body*>(context))(index, thread); }, &body);
}

}  // namespace

TEST(ThreadPool, ParallelFor_CallsEveryIndexOnce) {
    for (const int threads : {1, 2, 3, 8})
        for (const int64_t count : {0, 1, 2, 3, 7, 64, 1000}) {
            std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
            run(threads, count, [&](int64_t i, int) { calls[static_cast<size_t>(i)].fetch_add(1); });
            for (const auto& c : calls) ASSERT_EQ(c.load(), 1) << threads << " threads, " << count << " indices";
        }
}

TEST(ThreadPool, ParallelFor_GivesAThreadNumberToOneCallAtATime) {
    constexpr int kThreads = 4;
    std::atomic<int> inside[kThreads] = {};
    std::atomic<int> clashes{0};
    for (int round = 0; round < 200; ++round)
        run(kThreads, 64, [&](int64_t, int thread) {
            if (thread < 0 || thread >= kThreads || inside[thread].fetch_add(1) != 0) clashes.fetch_add(1);
            std::this_thread::yield();
            if (thread >= 0 && thread < kThreads) inside[thread].fetch_sub(1);
        });
    EXPECT_EQ(clashes.load(), 0);
}

// Index 0 waits for index 1: it ends only if another thread takes part.
TEST(ThreadPool, ParallelFor_RunsIndicesAtTheSameTime) {
    for (int round = 0; round < 50; ++round) {
        std::atomic<bool> arrived{false};
        run(2, 2, [&](int64_t i, int) {
            if (i == 1) arrived.store(true);
            while (i == 0 && !arrived.load()) std::this_thread::yield();
        });
    }
    EXPECT_GE(ThreadPool::instance().workers(), 1);
}

// All workers are stuck in one job; another caller must finish its own alone.
TEST(ThreadPool, ParallelFor_FinishesWhileAllWorkersAreBlocked) {
    ThreadPool& pool = ThreadPool::instance();
    pool.ensure(4);
    const int everybody = pool.workers() + 1;
    std::atomic<int> stuck{0};
    std::atomic<bool> release{false};
    std::thread blocker([&] {
        run(everybody, everybody, [&](int64_t, int) {
            stuck.fetch_add(1);
            while (!release.load()) std::this_thread::yield();
        });
    });
    while (stuck.load() < everybody) std::this_thread::yield();
    std::atomic<int64_t> sum{0};
    run(everybody, 1000, [&](int64_t i, int) { sum.fetch_add(i); });
    EXPECT_EQ(sum.load(), 999 * 1000 / 2);
    release.store(true);
    blocker.join();
}

TEST(ThreadPool, ParallelFor_MayNest) {
    std::atomic<int64_t> sum{0};
    run(3, 20, [&](int64_t i, int) { run(3, 30, [&](int64_t j, int) { sum.fetch_add(i * 30 + j); }); });
    EXPECT_EQ(sum.load(), 599 * 600 / 2);
}

TEST(ThreadPool, ParallelFor_RethrowsAnExceptionAndStaysUsable) {
    for (const int threads : {1, 4}) {
        std::atomic<int> calls{0};
        EXPECT_THROW(run(threads, 100000,
                         [&](int64_t, int) {
                             calls.fetch_add(1);
                             throw std::runtime_error("every index");
                         }),
                     std::runtime_error);
        EXPECT_LE(calls.load(), threads);  // none begins another index after its own exception
        std::atomic<int> after{0};
        run(threads, 100, [&](int64_t, int) { after.fetch_add(1); });
        EXPECT_EQ(after.load(), 100);
    }
}

TEST(ThreadPool, ManyCallers_AllGetTheirOwnResults) {
    constexpr int kCallers = 8, kRounds = 400;
    std::vector<std::thread> callers;
    std::atomic<int> wrong{0};
    for (int caller = 0; caller < kCallers; ++caller)
        callers.emplace_back([&, caller] {
            for (int round = 0; round < kRounds; ++round) {
                const int64_t count = 1 + (caller * 31 + round * 17) % 97;
                std::vector<int64_t> results(static_cast<size_t>(count), -1);
                run(1 + (caller + round) % 5, count, [&](int64_t i, int) { results[static_cast<size_t>(i)] = i * caller + round; });
                for (int64_t i = 0; i < count; ++i)
                    if (results[static_cast<size_t>(i)] != i * caller + round) wrong.fetch_add(1);
            }
        });
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong.load(), 0);
}

}  // namespace sdn::test
