// Zeroed, 64-byte aligned host memory. Large blocks come straight from the system: address space at once, pages when touched.
#pragma once

#include <cstdint>

namespace sdn {

inline constexpr int64_t kAlignment = 64;

inline int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

class Memory {
  public:
    Memory() = default;
    // Fails with SDN_ERROR_OUT_OF_MEMORY naming the bytes. `purpose` completes "... bytes for <purpose>".
    Memory(int64_t bytes, const char* purpose);
    ~Memory();
    Memory(Memory&& other) noexcept;
    Memory& operator=(Memory&& other) noexcept;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    void* data() const { return data_; }
    int64_t bytes() const { return bytes_; }

  private:
    void* data_ = nullptr;
    int64_t bytes_ = 0;
    void* base_ = nullptr;    // what the system gave
    int64_t base_bytes_ = 0;  // 0: from the heap
};

}  // namespace sdn
