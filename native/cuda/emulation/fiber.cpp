#include "cuda/emulation/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "core/error.h"

#if defined(__SANITIZE_ADDRESS__)
#define SDN_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SDN_ADDRESS_SANITIZER 1
#endif
#endif

#if defined(SDN_ADDRESS_SANITIZER)
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__) || defined(SDN_EMULATION_UCONTEXT)
#include <ucontext.h>
#endif

namespace sdn::cuda::emulation {

namespace {

// A kernel's frames are small; a sanitizer's are not.
#if defined(SDN_ADDRESS_SANITIZER)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif
constexpr size_t kGuardBytes = 64 * 1024;  // more than any frame, so that none can reach over it
constexpr int kFibersPerMapping = 32;
// Fibers begin at different distances from the top of their stacks, lest their hottest lines all want the same sets of the cache.
constexpr size_t kColors = 64, kColorBytes = 64;

// Of ucontext, a context is an object of its own.
void free_context([[maybe_unused]] Fiber& fiber) {
#if !defined(__x86_64__) || defined(SDN_EMULATION_UCONTEXT)
    delete static_cast<ucontext_t*>(fiber.context);
#endif
}

}  // namespace

FiberPool::~FiberPool() {
    for (void* mapping : mappings_) munmap(mapping, kFibersPerMapping * (kGuardBytes + kStackBytes));
    for (Fiber* fiber : all_) {
        free_context(*fiber);
        delete fiber;
    }
    free_context(system);
}

Fiber& FiberPool::take() {
    if (free_.empty()) grow();
    Fiber* fiber = free_.back();
    free_.pop_back();
    return *fiber;
}

void FiberPool::grow() {
    constexpr size_t kEach = kGuardBytes + kStackBytes;
    void* mapping = mmap(nullptr, kFibersPerMapping * kEach, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) fail(SDN_ERROR_OUT_OF_MEMORY, "no address space for the stacks of the emulated device's threads");
    mappings_.push_back(mapping);
    for (int i = 0; i < kFibersPerMapping; ++i) {
        unsigned char* bottom = static_cast<unsigned char*>(mapping) + i * kEach + kGuardBytes;
        if (mprotect(bottom, kStackBytes, PROT_READ | PROT_WRITE) != 0)
            fail(SDN_ERROR_OUT_OF_MEMORY, "no memory for the stacks of the emulated device's threads");
        Fiber* fiber = all_.emplace_back(new Fiber);
        fiber->bottom = bottom;
        fiber->bytes = kStackBytes - all_.size() % kColors * kColorBytes;
        free_.push_back(fiber);
    }
}

// ---- the switch itself -------------------------------------------------------------------------------------------------

#if defined(__x86_64__) && !defined(SDN_EMULATION_UCONTEXT)

// Keeps what a function must keep (System V ABI) on the stack that is left, takes it from the other. Nobody changes the modes of the
// floating-point unit in between. It ends in ret, which the processor foretells well: most stacks have been left from the same calls.
extern "C" void sdn_switch_stack(void** kept, void* other) __attribute__((visibility("hidden")));
asm(R"(
    .text
    .p2align 4
    .globl sdn_switch_stack
    .hidden sdn_switch_stack
    .type sdn_switch_stack, @function
sdn_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size sdn_switch_stack, . - sdn_switch_stack
)");

namespace {

void switch_context(Fiber& from, Fiber& to) {
    sdn_switch_stack(&from.context, to.context);
}

}  // namespace

void prepare_fiber(Fiber& fiber, void (*entry)()) {
    void** top = reinterpret_cast<void**>(fiber.bottom + fiber.bytes);
    *--top = nullptr;  // an address to return to: there is none
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    fiber.context = top;
}

#else

namespace {

ucontext_t* context_of(Fiber& fiber) {
    if (fiber.context == nullptr) fiber.context = new ucontext_t;
    return static_cast<ucontext_t*>(fiber.context);
}

void switch_context(Fiber& from, Fiber& to) {
    swapcontext(context_of(from), context_of(to));
}

}  // namespace

void prepare_fiber(Fiber& fiber, void (*entry)()) {
    ucontext_t* context = context_of(fiber);
    getcontext(context);
    context->uc_stack.ss_sp = fiber.bottom;
    context->uc_stack.ss_size = fiber.bytes;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
}

#endif

// ---- with AddressSanitizer told of it ----------------------------------------------------------------------------------

void fiber_begun([[maybe_unused]] Fiber& switched_from) {
#if defined(SDN_ADDRESS_SANITIZER)
    const void* bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (switched_from.bottom == nullptr) {
        switched_from.bottom = static_cast<unsigned char*>(const_cast<void*>(bottom));
        switched_from.bytes = bytes;
    }
#endif
}

void switch_fiber(Fiber& from, Fiber& to) {
#if defined(SDN_ADDRESS_SANITIZER)
    __sanitizer_start_switch_fiber(&from.sanitizer_stack, to.bottom, to.bytes);
#endif
    switch_context(from, to);
#if defined(SDN_ADDRESS_SANITIZER)
    __sanitizer_finish_switch_fiber(from.sanitizer_stack, nullptr, nullptr);
#endif
}

void leave_fiber(Fiber& from, Fiber& to) {
#if defined(SDN_ADDRESS_SANITIZER)
    __sanitizer_start_switch_fiber(nullptr, to.bottom, to.bytes);
#endif
    switch_context(from, to);
    std::abort();
}

}  // namespace sdn::cuda::emulation
