// primitives/async.h in emulation: a copy lands when its thread waits for its group, not before.
#pragma once

#include "cuda/emulation/running.h"
#include "cuda/emulation/shared_view.h"

namespace sdn::cuda::SDN_TARGET {

template <int Bytes, class T>
SDN_DEVICE void copy_async(Shared<T> target, const T* source, bool valid = true) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
    emulation::copy_async(target.place(), source, Bytes, valid);
}

SDN_DEVICE void commit_async() {
    emulation::commit_async();
}

template <int Pending>
SDN_DEVICE void wait_async() {
    static_assert(Pending >= 0);
    emulation::wait_async(Pending);
}

}  // namespace sdn::cuda::SDN_TARGET
