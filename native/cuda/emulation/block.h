// One block at a time: its threads as fibers, what they wait for, its shared memory.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "core/error.h"
#include "cuda/emulation/fiber.h"
#include "cuda/emulation/launch.h"
#include "cuda/emulation/running.h"

namespace sdn::cuda::emulation {

inline constexpr int kMostThreads = 1024, kLanes = 32, kMostWarps = kMostThreads / kLanes;

// xorshift64*: orders only.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed | 1) {}
    uint32_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<uint32_t>((state_ * 0x2545f4914f6cdd1dull) >> 32);
    }

  private:
    uint64_t state_;
};

struct Warp {
    // The lanes' turns: turn p is lane (p * step + first) % 32. The masks are by turn.
    uint32_t step = 1, first = 0;
    uint32_t unstarted = 0;  // not begun
    uint32_t ready = 0;      // stopped, but may go on

    // The collective that some of the lanes have come to.
    Stop stop = Stop::none;
    Site site;
    int arrived = 0;
    int first_arrived = 0;  // a lane
    int ended = 0;          // lanes whose kernel has returned
    int first_ended = 0;
    uint32_t parity = 0;   // of the collectives so far
    uint32_t barrier = 0;  // stamps from here on are of after the warp's last barrier

    // What the lanes bring to a collective: two sets, for a lane may come to the next before another has read the last.
    uint64_t values[2][kLanes];
    Place rows[kLanes];
    uint32_t* results[kLanes];
    float* d[kLanes];
    const uint32_t* a[kLanes];
    const uint32_t* b[kLanes];

    int lane_of(int turn) const { return static_cast<int>((static_cast<uint32_t>(turn) * step + first) % kLanes); }
    void shuffle_turns(uint32_t random);
};

// Copies that one thread has begun by cp.async, in order.
struct AsyncCopies {
    struct Copy {
        Place target;
        const void* source;
        int32_t bytes;
        bool valid;
    };
    std::vector<Copy> copies;
    std::vector<size_t> groups;  // where each ends in copies
    size_t landed = 0, groups_landed = 0;

    void clear();
    void forget_landed();
};

typedef float Row8 __attribute__((vector_size(32)));  // the compiler's own vectors, on any processor

// One for all warps, and not on the stack of the lane that comes last: each stack would be written in turn.
struct MultiplyBuffers {
    uint16_t a_bits[16][16], b_bits[16][8];
    float a[16][16];
    Row8 b[16], d[16];
};

class Block {
  public:
    MultiplyBuffers multiply_buffers;

    // Runs all threads of block (x, y, z) of the grid. Throws what the first thread that failed has thrown.
    void run(const char* kernel, const Shape& shape, const int64_t (&block)[3], const std::function<void()>& body, uint64_t seed);

    // Stops the running thread until all 32 lanes of its warp have come; the last one calls complete(warp) before anyone goes on.
    template <class Complete>
    void meet_warp(Stop stop, Site site, Complete complete);
    void meet_block(Stop stop, Site site);

    Warp& warp() { return warps_[running.thread / kLanes]; }
    AsyncCopies& copies() {
        copying_ = true;
        return copies_[static_cast<size_t>(running.thread)];
    }
    void set_any() { any_ = true; }
    bool last_any() const { return last_any_; }
    void advance_clock();
    void start_warp_epoch() {
        advance_clock();
        warp().barrier = clock_ << kWhoBits;
    }
    uint32_t warp_barrier(int warp) const { return warps_[warp].barrier; }

    // The shadow of single bytes, where those of one 4-byte unit differ.
    uint32_t* byte_writes() { return byte_writes_.data(); }
    uint32_t* byte_reads() { return byte_reads_.data(); }
    uint32_t shared_bytes() const { return static_cast<uint32_t>(shape_->shared_bytes); }

    // Fails with the kernel's, the block's and the thread's name before the text.
    [[noreturn]] SDN_PRINTF(3, 4) void fault(int thread, const char* format, ...);

  private:
    struct Cancelled {};  // unwinds the threads that are left after one has failed

    static void fiber_main();
    void drop_copies();
    void end_thread();
    void arrive(Warp& warp, Stop stop, Site site);
    void stop_running();
    // Decides who goes on; false: nobody can.
    bool choose();
    Fiber& chosen_fiber();
    void now_running(int thread);
    void release_block();
    void shuffle_warps();
    void forget_times();  // before the clock overflows: all that has been is now long ago
    void prepare(const char* kernel, const Shape& shape, const int64_t (&block)[3], uint64_t seed);
    [[noreturn]] void nobody_can_go_on();

    const char* kernel_ = nullptr;
    const Shape* shape_ = nullptr;
    const std::function<void()>* body_ = nullptr;
    Random random_{1};

    FiberPool fibers_;
    Fiber* current_ = nullptr;
    Fiber* switched_from_ = nullptr;
    Fiber* stopped_[kMostThreads] = {};  // the fiber of each thread that has begun and is not running
    int chosen_ = 0;
    bool chosen_starts_ = false;
    int turn_ = 0;  // of the running thread in its warp

    Warp warps_[kMostWarps];
    int warp_count_ = 0, current_warp_ = 0;
    uint8_t warp_order_[kMostWarps] = {};
    int warp_turn_ = 0;
    uint32_t able_warps_ = 0;  // by turn: warps that have somebody who can go on
    int arrived_warps_ = 0, first_arrived_warp_ = 0;
    int ended_ = 0, first_ended_ = 0;  // threads
    bool any_ = false, last_any_ = false;

    std::exception_ptr failure_;
    bool cancelling_ = false;

    uint32_t clock_ = 1;
    std::vector<unsigned char> memory_;
    std::vector<uint32_t> writes_, reads_, byte_writes_, byte_reads_;
    std::vector<AsyncCopies> copies_;  // of each thread
    bool copying_ = false;             // somebody has copies, or groups
};

const char* name_of(Stop stop);
const char* file_of(Site site);  // without its folders

// ---- inline: what a collective costs is what the emulator costs --------------------------------------------------------

inline void Block::now_running(int thread) {
    running.thread = thread;
    running.repeats = 0;
    running.stamp = clock_ << kWhoBits | static_cast<uint32_t>(thread);
}

template <class Complete>
void Block::meet_warp(Stop stop, Site site, Complete complete) {
    Warp& warp = this->warp();
    arrive(warp, stop, site);
    if (warp.arrived < kLanes) {
        stop_running();
        return;
    }
    warp.arrived = 0;
    warp.parity ^= 1;
    warp.ready = ~(1u << turn_);
    complete(warp);
}

}  // namespace sdn::cuda::emulation
