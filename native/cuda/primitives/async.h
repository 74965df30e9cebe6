// cp.async: global to shared memory without registers. A copy is there after the wait for its group, and for other threads after a
// barrier on top of that.
#pragma once

#include "cuda/primitives/shared.h"
#if defined(SDN_EMULATION)
#include "cuda/emulation/async_view.h"
#endif

namespace sdn::cuda::SDN_TARGET {

#if !defined(SDN_EMULATION)

// Copies Bytes (4, 8 or 16; both addresses multiples of it), or writes zeros where `valid` is false; `source` is then not read.
template <int Bytes, class T>
SDN_DEVICE void copy_async(Shared<T> target, const T* source, bool valid = true) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
    const int taken = valid ? Bytes : 0;
    if constexpr (Bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target.address()), "l"(source), "r"(taken) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target.address()), "l"(source), "n"(Bytes), "r"(taken)
                     : "memory");
}

// Ends the group of copies that this thread has begun since the last group.
SDN_DEVICE void commit_async() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most Pending of this thread's groups are under way.
template <int Pending>
SDN_DEVICE void wait_async() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

#endif

}  // namespace sdn::cuda::SDN_TARGET
