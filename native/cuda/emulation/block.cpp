#include "cuda/emulation/block.h"

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "core/error.h"

namespace sdn::cuda::emulation {

SDN_TLS_MODEL constinit thread_local Running running{};

namespace {

// Leaves room for the two marks above it (see shadow.cpp).
constexpr uint32_t kLastClock = (1u << (32 - kWhoBits)) - 16;

bool same_site(const Site& a, const Site& b) {
    if (std::memcmp(&a, &b, sizeof a) == 0) return true;  // a pointer, and mostly the same
    return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

// The first set bit at or after `from`, around.
int next_turn(uint32_t mask, int from) {
    from &= 31;
    return (from + std::countr_zero(std::rotr(mask, from))) & 31;
}

}  // namespace

const char* name_of(Stop stop) {
    constexpr const char* kNames[] = {"nothing",     "sync_block",   "sync_block_or", "sync_warp",     "shuffle",
                                      "shuffle_xor", "shuffle_down", "ballot",        "load_matrices", "mma_m16n8k16"};
    return kNames[static_cast<int>(stop)];
}

const char* file_of(Site site) {
    const char* slash = std::strrchr(site.file_name(), '/');
    return slash != nullptr ? slash + 1 : site.file_name();
}

// ---- turns -------------------------------------------------------------------------------------------------------------

void Warp::shuffle_turns(uint32_t random) {
    step = random % kLanes | 1;
    first = random >> 8 & (kLanes - 1);
}

// ---- a block from begin to end -----------------------------------------------------------------------------------------

void AsyncCopies::clear() {
    copies.clear();
    groups.clear();
    landed = groups_landed = 0;
}

void AsyncCopies::forget_landed() {
    if (landed == copies.size() && groups_landed == groups.size()) {
        clear();
    } else if (landed > copies.size() / 2 + 16 || groups_landed > groups.size() / 2 + 16) {
        copies.erase(copies.begin(), copies.begin() + static_cast<ptrdiff_t>(landed));
        groups.erase(groups.begin(), groups.begin() + static_cast<ptrdiff_t>(groups_landed));
        for (size_t& end : groups) end -= landed;
        landed = groups_landed = 0;
    }
}

void Block::prepare(const char* kernel, const Shape& shape, const int64_t (&block)[3], uint64_t seed) {
    kernel_ = kernel;
    shape_ = &shape;
    random_ = Random(seed);
    warp_count_ = shape.threads / kLanes;
    const size_t units = static_cast<size_t>(shape.shared_bytes + 3) / 4;
    if (writes_.size() < units) {
        memory_.resize(4 * units);
        writes_.resize(units);
        reads_.resize(units);
        byte_writes_.resize(4 * units);
        byte_reads_.resize(4 * units);
    }
    if (copies_.size() < static_cast<size_t>(shape.threads)) copies_.resize(static_cast<size_t>(shape.threads));
    if (clock_ > kLastClock / 2) {
        std::fill(writes_.begin(), writes_.end(), 0);
        std::fill(reads_.begin(), reads_.end(), 0);
        clock_ = 1;
    }
    ++clock_;

    running = {};
    running.memory = memory_.data();
    running.writes = writes_.data();
    running.reads = reads_.data();
    running.born = running.barrier = clock_ << kWhoBits;
    running.threads = shape.threads;
    for (int i = 0; i < 3; ++i) running.block[i] = block[i];
    running.grid[0] = shape.x;
    running.grid[1] = shape.y;
    running.grid[2] = shape.z;
    running.owner = this;

    for (int i = 0; i < warp_count_; ++i) {
        Warp& warp = warps_[i];
        warp.shuffle_turns(random_.next());
        warp.unstarted = ~0u;
        warp.ready = 0;
        warp.arrived = warp.ended = 0;
        warp.barrier = running.born;
        warp_order_[i] = static_cast<uint8_t>(i);
    }
    arrived_warps_ = ended_ = 0;
    any_ = false;
    failure_ = nullptr;
    cancelling_ = false;
    fibers_.system.bottom = nullptr;
}

void Block::run(const char* kernel, const Shape& shape, const int64_t (&block)[3], const std::function<void()>& body, uint64_t seed) {
    prepare(kernel, shape, block, seed);
    body_ = &body;
    shuffle_warps();
    choose();
    Fiber& first = chosen_fiber();
    switched_from_ = &fibers_.system;
    current_ = &first;
    switch_fiber(fibers_.system, first);
    // Those that are left have stopped somewhere inside the kernel: let each go on, and unwind.
    if (cancelling_) {
        for (int i = 0; i < shape.threads; ++i) {
            if (stopped_[i] == nullptr) continue;
            current_ = stopped_[i];
            switch_fiber(fibers_.system, *current_);
        }
    }
    drop_copies();
    running = {};
    if (failure_) std::rethrow_exception(failure_);
}

// Copies that nobody has waited for.
void Block::drop_copies() {
    if (!copying_) return;
    for (AsyncCopies& own : copies_) {
        for (; own.landed < own.copies.size(); ++own.landed) {
            const AsyncCopies::Copy& copy = own.copies[own.landed];
            end_landing(copy.target, static_cast<uint32_t>(copy.bytes));
        }
        own.clear();
    }
    copying_ = false;
}

// What runs on every fiber: threads that have not begun, one after another, until the next to go on is one that has.
void Block::fiber_main() {
    Block& block = *running.owner;
    fiber_begun(*block.switched_from_);
    for (;;) {
        block.now_running(block.chosen_);
        bool more = false;
        try {
            (*block.body_)();
            block.end_thread();
            more = block.choose();
            if (!more && block.ended_ < running.threads) block.nobody_can_go_on();
        } catch (const Cancelled&) {
        } catch (...) {
            block.failure_ = std::current_exception();
            block.cancelling_ = true;
        }
        if (more && !block.cancelling_ && block.chosen_starts_) continue;
        Fiber& self = *block.current_;
        Fiber& next = more && !block.cancelling_ ? *block.stopped_[block.chosen_] : block.fibers_.system;
        block.fibers_.give_back(self);
        block.switched_from_ = &self;
        block.current_ = &next;
        leave_fiber(self, next);
    }
}

void Block::end_thread() {
    Warp& warp = this->warp();
    const int lane = running.thread % kLanes;
    if (warp.ended++ == 0) warp.first_ended = lane;
    if (ended_++ == 0) first_ended_ = running.thread;
    const Warp* waiting = warp.arrived > 0 ? &warp : arrived_warps_ > 0 ? &warps_[first_arrived_warp_] : nullptr;
    if (waiting != nullptr) {
        const int other = static_cast<int>(waiting - warps_) * kLanes + waiting->first_arrived;
        fault(running.thread, "has ended, and thread %d waits for it at %s (%s:%u), where all threads of the %s must meet", other,
              name_of(waiting->stop), file_of(waiting->site), waiting->site.line(),
              waiting->stop <= Stop::sync_block_or ? "block" : "warp");
    }
}

// ---- who goes on -------------------------------------------------------------------------------------------------------

void Block::shuffle_warps() {
    for (int i = warp_count_ - 1; i > 0; --i) std::swap(warp_order_[i], warp_order_[random_.next() % static_cast<uint32_t>(i + 1)]);
    able_warps_ = warp_count_ == 32 ? ~0u : (1u << warp_count_) - 1;
    warp_turn_ = 0;
    current_warp_ = warp_order_[0];
    turn_ = -1;
}

bool Block::choose() {
    for (;;) {
        Warp& warp = warps_[current_warp_];
        if (const uint32_t able = warp.ready | warp.unstarted; able != 0) {
            const int turn = next_turn(able, turn_ + 1);
            const uint32_t bit = 1u << turn;
            chosen_starts_ = (warp.unstarted & bit) != 0;
            warp.unstarted &= ~bit;
            warp.ready &= ~bit;
            turn_ = turn;
            chosen_ = current_warp_ * kLanes + warp.lane_of(turn);
            return true;
        }
        able_warps_ &= ~(1u << warp_turn_);
        if (able_warps_ == 0) return false;
        warp_turn_ = next_turn(able_warps_, warp_turn_ + 1);
        current_warp_ = warp_order_[warp_turn_];
        turn_ = -1;
    }
}

Fiber& Block::chosen_fiber() {
    if (!chosen_starts_) return *stopped_[chosen_];
    Fiber& fiber = fibers_.take();
    prepare_fiber(fiber, &Block::fiber_main);
    return fiber;
}

void Block::stop_running() {
    const int thread = running.thread;
    Fiber& self = *current_;
    if (!choose()) nobody_can_go_on();
    if (chosen_ != thread) {
        Fiber& next = chosen_fiber();
        stopped_[thread] = &self;
        switched_from_ = &self;
        current_ = &next;
        switch_fiber(self, next);
        stopped_[thread] = nullptr;
    }
    now_running(thread);
    if (cancelling_) throw Cancelled{};
}

void Block::nobody_can_go_on() {
    for (int i = 0; i < warp_count_; ++i) {
        const Warp& warp = warps_[i];
        if (warp.arrived > 0)
            fault(i * kLanes + warp.first_arrived, "waits at %s (%s:%u) for ever: no thread of the block can go on", name_of(warp.stop),
                  file_of(warp.site), warp.site.line());
    }
    fault(running.thread, "no thread of the block can go on");
}

// ---- barriers ----------------------------------------------------------------------------------------------------------

void Block::arrive(Warp& warp, Stop stop, Site site) {
    const int lane = running.thread % kLanes, base = running.thread - lane;
    if (warp.arrived == 0) {
        warp.stop = stop;
        warp.site = site;
        warp.first_arrived = lane;
    } else if (warp.stop != stop || !same_site(warp.site, site)) {
        fault(running.thread,
              "is at %s (%s:%u) while thread %d of its warp waits at %s (%s:%u): all 32 threads must meet at the same place", name_of(stop),
              file_of(site), site.line(), base + warp.first_arrived, name_of(warp.stop), file_of(warp.site), warp.site.line());
    }
    if (warp.ended > 0)
        fault(running.thread, "is at %s (%s:%u), where all threads of the %s must meet, and thread %d of its warp has ended", name_of(stop),
              file_of(site), site.line(), stop <= Stop::sync_block_or ? "block" : "warp", base + warp.first_ended);
    ++warp.arrived;
}

void Block::meet_block(Stop stop, Site site) {
    Warp& warp = this->warp();
    if (ended_ > 0)
        fault(running.thread, "is at %s (%s:%u), where all threads of the block must meet, and thread %d has ended", name_of(stop),
              file_of(site), site.line(), first_ended_);
    arrive(warp, stop, site);
    if (warp.arrived == kLanes) {
        if (arrived_warps_++ == 0) first_arrived_warp_ = running.thread / kLanes;
        const Warp& other = warps_[first_arrived_warp_];
        if (other.stop != stop || !same_site(other.site, site))
            fault(running.thread,
                  "is at %s (%s:%u) while thread %d waits at %s (%s:%u): all threads of the block must meet at the same place",
                  name_of(stop), file_of(site), site.line(), first_arrived_warp_ * kLanes + other.first_arrived, name_of(other.stop),
                  file_of(other.site), other.site.line());
        if (arrived_warps_ == warp_count_) release_block();
    }
    stop_running();
}

void Block::release_block() {
    arrived_warps_ = 0;
    last_any_ = any_;
    any_ = false;
    advance_clock();
    running.barrier = clock_ << kWhoBits;
    for (int i = 0; i < warp_count_; ++i) {
        warps_[i].arrived = 0;
        warps_[i].shuffle_turns(random_.next());
        warps_[i].ready = ~0u;
    }
    shuffle_warps();
}

void Block::advance_clock() {
    if (++clock_ == kLastClock) forget_times();
    now_running(running.thread);
}

void Block::fault(int thread, const char* format, ...) {
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail(SDN_ERROR_DEVICE, "kernel %s, block (%lld, %lld, %lld), thread %d: %s", kernel_, static_cast<long long>(running.block[0]),
         static_cast<long long>(running.block[1]), static_cast<long long>(running.block[2]), thread, text);
}

}  // namespace sdn::cuda::emulation
