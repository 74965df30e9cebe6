#include "core/memory.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace sdn {

namespace {

constexpr int64_t kPagesFrom = int64_t{1} << 18;  // smaller blocks come from the heap
constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kHugePagesFrom = kHugePage;  // from here on, aligned to huge pages
constexpr int64_t kMostBytes = int64_t{1} << 47;

[[noreturn]] void fail_out_of_memory(int64_t bytes, const char* purpose) {
    fail(SDN_ERROR_OUT_OF_MEMORY, "the system refused %lld bytes for %s", static_cast<long long>(bytes), purpose);
}

#if defined(_WIN32)

void* heap_alloc(int64_t bytes) {
    return _aligned_malloc(static_cast<size_t>(bytes), kAlignment);
}
void heap_free(void* data) {
    _aligned_free(data);
}
void* pages_alloc(int64_t bytes) {
    return VirtualAlloc(nullptr, static_cast<size_t>(bytes), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}
void pages_free(void* base, int64_t) {
    VirtualFree(base, 0, MEM_RELEASE);
}
void advise_huge_pages(void*, int64_t) {}

#else

void* heap_alloc(int64_t bytes) {
    return std::aligned_alloc(kAlignment, static_cast<size_t>(round_up(bytes, kAlignment)));
}
void heap_free(void* data) {
    std::free(data);
}
void* pages_alloc(int64_t bytes) {
    void* base = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return base == MAP_FAILED ? nullptr : base;
}
void pages_free(void* base, int64_t bytes) {
    munmap(base, static_cast<size_t>(bytes));
}
void advise_huge_pages(void* data, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
    madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // an advice: whether it is taken does not matter
#else
    (void)data, (void)bytes;
#endif
}

#endif

}  // namespace

Memory::Memory(int64_t bytes, const char* purpose) : bytes_(bytes) {
    if (bytes <= 0) return;
    if (bytes > kMostBytes) fail_out_of_memory(bytes, purpose);
    if (bytes < kPagesFrom) {
        data_ = base_ = heap_alloc(bytes);
        if (data_ == nullptr) fail_out_of_memory(bytes, purpose);
        std::memset(data_, 0, static_cast<size_t>(bytes));
        return;
    }
    const bool huge = bytes >= kHugePagesFrom;
    base_bytes_ = huge ? bytes + kHugePage : bytes;
    base_ = pages_alloc(base_bytes_);
    if (base_ == nullptr) fail_out_of_memory(bytes, purpose);
    data_ = base_;
    if (huge) {
        data_ = reinterpret_cast<void*>(round_up(reinterpret_cast<int64_t>(base_), kHugePage));
        advise_huge_pages(data_, bytes / kHugePage * kHugePage);
    }
}

Memory::~Memory() {
    if (base_ == nullptr) return;
    if (base_bytes_ > 0)
        pages_free(base_, base_bytes_);
    else
        heap_free(base_);
}

Memory::Memory(Memory&& other) noexcept {
    *this = std::move(other);
}

Memory& Memory::operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(base_, other.base_);
    std::swap(base_bytes_, other.base_bytes_);
    return *this;
}

}  // namespace sdn
