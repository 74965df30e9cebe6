// The host's side of the emulator: runs a grid, or records it while its stream is being captured.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cuda/kernel_api.h"

namespace sdn::cuda::emulation {

// One thing a captured stream does: a launch, or a copy that the runtime puts here itself.
struct Recorded {
    std::string name;
    std::function<void()> body;
};

// What Queue::stream points to. It has no work of its own: everything has been done when its call returns.
struct Stream {
    std::vector<Recorded>* capturing = nullptr;  // while a graph is being captured: where launches go instead of running
};

struct Shape {
    int64_t x = 1, y = 1, z = 1;  // blocks
    int threads = 32;             // of a block
    int shared_bytes = 0;         // of a block
};

// Calls body once per thread of the grid, as that thread, and returns when all have ended; while the queue's stream is capturing, keeps it
// for run(). Fails with SDN_ERROR_DEVICE when the shape is not one a GPU of queue.limits takes or when a thread does something wrong; the
// text names the kernel, the block and the thread.
void launch(Queue& queue, const char* name, const Shape& shape, std::function<void()> body);

// Does what was recorded. Any number of times, also from several threads at once when it writes different memory.
inline void run(const Recorded& recorded) {
    recorded.body();
}

// The order of blocks, warps and threads follows from this number: SDN_EMULATION_SEED, or 1.
uint64_t order_seed();
void set_order_seed(uint64_t seed);

}  // namespace sdn::cuda::emulation
