// A grid: its blocks in an order that follows from the seed, on the threads of the pool.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>

#include "core/error.h"
#include "core/system_info.h"
#include "core/thread_pool.h"
#include "cuda/emulation/block.h"
#include "cuda/emulation/launch.h"

namespace sdn::cuda::emulation {

namespace {

uint64_t mix(uint64_t x) {  // splitmix64
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

uint64_t seed_of_environment() {
    const char* text = std::getenv("SDN_EMULATION_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 1;
}

std::atomic<uint64_t>& seed() {
    static std::atomic<uint64_t> value{seed_of_environment()};
    return value;
}

// Blocks that no launch uses at the moment: stacks and shadows are kept, they cost more than a small grid.
class BlockPool {
  public:
    static BlockPool& instance() {
        static BlockPool pool;
        return pool;
    }
    std::unique_ptr<Block> take() {
        std::lock_guard lock(mutex_);
        if (blocks_.empty()) return std::make_unique<Block>();
        std::unique_ptr<Block> block = std::move(blocks_.back());
        blocks_.pop_back();
        return block;
    }
    void give_back(std::unique_ptr<Block> block) {
        std::lock_guard lock(mutex_);
        blocks_.push_back(std::move(block));
    }

  private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Block>> blocks_;
};

struct GridRun {
    const char* name;
    const Shape& shape;
    const std::function<void()>& body;
    uint64_t seed;
    int64_t count;
    uint64_t step, first;                        // the i-th block to begin is (i * step + first) % count
    std::vector<std::unique_ptr<Block>> blocks;  // of each thread of the pool

    ~GridRun() {
        for (auto& block : blocks)
            if (block) BlockPool::instance().give_back(std::move(block));
    }

    static void run_block(void* context, int64_t index, int thread) {
        GridRun& self = *static_cast<GridRun*>(context);
        auto& block = self.blocks[static_cast<size_t>(thread)];
        if (!block) block = BlockPool::instance().take();
        const auto number =
            static_cast<int64_t>((static_cast<uint64_t>(index) * self.step + self.first) % static_cast<uint64_t>(self.count));
        const int64_t x = self.shape.x, y = self.shape.y;
        block->run(self.name, self.shape, {number % x, number / x % y, number / (x * y)}, self.body,
                   mix(self.seed ^ static_cast<uint64_t>(number)));
    }
};

void run_grid(const char* name, const Shape& shape, const std::function<void()>& body) {
    if (running.owner != nullptr) fail(SDN_ERROR_INTERNAL, "kernel %s: launched by a kernel", name);
    GridRun grid{name, shape, body, mix(order_seed()), shape.x * shape.y * shape.z, 1, 0, {}};
    const auto count = static_cast<uint64_t>(grid.count);
    grid.first = grid.seed % count;
    // Below 2^31, so that index * step does not overflow for up to 2^32 blocks.
    for (grid.step = grid.seed >> 33 | 1; std::gcd(grid.step, count) != 1; grid.step += 2) {
    }
    const int threads = static_cast<int>(std::min<int64_t>(available_threads(), grid.count));
    grid.blocks.resize(static_cast<size_t>(threads));
    ThreadPool::instance().ensure(threads);
    ThreadPool::instance().parallel_for(threads, grid.count, &GridRun::run_block, &grid);
}

void require_shape(const Limits& limits, const char* name, const Shape& shape) {
    constexpr int64_t kMostX = 0x7fffffff, kMostYz = 65535;
    if (shape.x < 1 || shape.y < 1 || shape.z < 1 || shape.x > kMostX || shape.y > kMostYz || shape.z > kMostYz)
        fail(SDN_ERROR_DEVICE, "kernel %s: a grid of %lld x %lld x %lld blocks; each must be at least 1, and at most %lld, %lld and %lld",
             name, static_cast<long long>(shape.x), static_cast<long long>(shape.y), static_cast<long long>(shape.z),
             static_cast<long long>(kMostX), static_cast<long long>(kMostYz), static_cast<long long>(kMostYz));
    if (shape.threads < kLanes || shape.threads > kMostThreads || shape.threads % kLanes != 0)
        fail(SDN_ERROR_DEVICE, "kernel %s: blocks of %d threads; it must be a multiple of 32, at most 1024", name, shape.threads);
    if (shape.shared_bytes < 0 || shape.shared_bytes > limits.shared_per_block)
        fail(SDN_ERROR_DEVICE, "kernel %s: %d bytes of shared memory per block; this device has %d", name, shape.shared_bytes,
             limits.shared_per_block);
}

}  // namespace

uint64_t order_seed() {
    return seed().load(std::memory_order_relaxed);
}

void set_order_seed(uint64_t value) {
    seed().store(value, std::memory_order_relaxed);
}

void launch(Queue& queue, const char* name, const Shape& shape, std::function<void()> body) {
    require_shape(queue.limits, name, shape);
    auto* stream = static_cast<Stream*>(queue.stream);
    if (stream != nullptr && stream->capturing != nullptr)
        stream->capturing->push_back(
            {name, [kernel = std::string(name), shape, body = std::move(body)] { run_grid(kernel.c_str(), shape, body); }});
    else
        run_grid(name, shape, body);
}

}  // namespace sdn::cuda::emulation
