// Tells the address sanitizer which bytes of an arena belong to a block, so that it sees an op read or write outside of its blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace sdn {

inline void forbid_access([[maybe_unused]] const void* data, [[maybe_unused]] int64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    if (data != nullptr) __asan_poison_memory_region(data, static_cast<size_t>(bytes));
#endif
}

inline void allow_access([[maybe_unused]] const void* data, [[maybe_unused]] int64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    if (data != nullptr) __asan_unpoison_memory_region(data, static_cast<size_t>(bytes));
#endif
}

}  // namespace sdn
