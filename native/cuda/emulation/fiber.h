// Threads of control that the emulator switches between by itself, all on one thread of the system.
#pragma once

#include <cstddef>
#include <vector>

namespace sdn::cuda::emulation {

// A stack, and where its owner stopped.
struct Fiber {
    void* context = nullptr;          // where it goes on
    unsigned char* bottom = nullptr;  // of the stack. For a fiber that stands for the system's thread: filled in by fiber_begun()
    size_t bytes = 0;
    void* sanitizer_stack = nullptr;  // AddressSanitizer's
};

// The stacks of a block's threads. Below each is a guard: running out of a stack is a segmentation fault, not silent damage.
class FiberPool {
  public:
    FiberPool() = default;
    ~FiberPool();
    FiberPool(const FiberPool&) = delete;
    FiberPool& operator=(const FiberPool&) = delete;

    Fiber& take();  // fails with SDN_ERROR_OUT_OF_MEMORY
    void give_back(Fiber& fiber) { free_.push_back(&fiber); }

    Fiber system;  // stands for the thread of the system that runs the fibers

  private:
    void grow();

    std::vector<Fiber*> free_;
    std::vector<Fiber*> all_;
    std::vector<void*> mappings_;
};

// Makes the fiber begin with entry() when it is next switched to. entry calls fiber_begun() first and never returns.
void prepare_fiber(Fiber& fiber, void (*entry)());
void fiber_begun(Fiber& switched_from);

// Stops `from`, which is running, and goes on with `to`. Returns when somebody switches back.
void switch_fiber(Fiber& from, Fiber& to);
// The same, and `from` never goes on: it may be prepared anew.
[[noreturn]] void leave_fiber(Fiber& from, Fiber& to);

}  // namespace sdn::cuda::emulation
