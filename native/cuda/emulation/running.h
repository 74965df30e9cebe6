// The thread of a kernel that is running, as the views see it: who it is, the shared memory of its block, and what it may stop at.
//
// Races are found by stamps. A block has a clock, which every barrier advances; a stamp is the clock's time and who did it:
//     bits 11..31  the clock
//     bits  0..10  a thread (0..1023), kWarp + w: several threads of warp w, or kMany: threads of several warps
// Each 4 bytes of shared memory have the stamp of the last write and that of the last reads. An access is ordered after an earlier one if
// that is older than the block's last barrier, or older than the warp's last barrier and of the same warp, or of the same thread. The clock
// goes on from block to block, so what a former block wrote is older than `born`, and counts as not initialised.
#pragma once

#include <cstdint>
#include <source_location>

namespace sdn::cuda::emulation {

class Block;

inline constexpr uint32_t kWhoBits = 11, kWhoMask = (1u << kWhoBits) - 1;
inline constexpr uint32_t kWarp = 1024, kMany = kWhoMask;

// A place in the block's shared memory, and the array that it must be in.
struct Place {
    int64_t at;           // byte of the block's shared memory
    uint32_t begin, end;  // bytes of the array
    uint32_t element;     // bytes of one element
};

struct Running {
    // Shared memory.
    unsigned char* memory;
    uint32_t* writes;  // stamps, one for 4 bytes
    uint32_t* reads;
    uint32_t born;     // stamps from here on are of this block,
    uint32_t barrier;  // and from here on of after its last barrier
    uint32_t stamp;    // of what the running thread does now

    uint32_t repeats;  // reads by the running thread, since it goes on, that check_read_fully() has seen
    int32_t thread;
    int32_t threads;  // of the block
    int64_t block[3];
    int64_t grid[3];

    Block* owner;  // nullptr while no kernel runs here
};

#if defined(__ELF__)
#define SDN_TLS_MODEL __attribute__((tls_model("initial-exec")))  // a register and an offset, no call, from a shared library too
#else
#define SDN_TLS_MODEL
#endif
SDN_TLS_MODEL extern constinit thread_local Running running;

using Site = std::source_location;

// What threads stop at until all of the warp, or of the block, are there.
enum class Stop : uint8_t { none, sync_block, sync_block_or, sync_warp, shuffle, shuffle_xor, shuffle_down, ballot, load_matrices, mma };

// ---- what the running thread does (block.cpp, collective.cpp) ----------------------------------------------------------

void sync_block(Site site);
bool sync_block_or(bool value, Site site);
void sync_warp(Site site);
// The value given by the thread `from_lane` of the warp.
uint64_t exchange(Stop stop, uint64_t value, int from_lane, Site site);
uint32_t ballot(bool value, Site site);
void load_matrices(const Place& row, int count, bool transposed, uint32_t* result, Site site);
void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b, bool is_half, Site site);

void copy_async(const Place& target, const void* source, int bytes, bool valid);
void commit_async();
void wait_async(int pending);

void require_array(int64_t offset, int64_t count, int64_t element);
[[noreturn]] void misaligned(const void* address, int64_t bytes);

// ---- shared memory (shadow.cpp) ----------------------------------------------------------------------------------------

// The same as check_read and check_write below, of any size and in any state. They fail, naming the thread, or keep the access.
void check_read_fully(const Place& place, uint32_t bytes);
void check_write_fully(const Place& place, uint32_t bytes);
// A read by all of the running thread's warp at an address that `thread` has given.
void check_warp_read(const Place& place, uint32_t bytes, int thread);
// What a cp.async of the running thread writes is nobody's to touch until it has landed. Bytes: a multiple of 4.
void begin_landing(const Place& place, uint32_t bytes);
void end_landing(const Place& place, uint32_t bytes);

// Bytes are at most 16 and a power of two.
template <uint32_t Bytes>
inline void check_read(const Place& place) {
    const uint64_t inside = static_cast<uint64_t>(place.at - place.begin);
    if constexpr (Bytes >= 4) {
        const Running& now = running;
        const uint32_t size = place.end - place.begin;
        bool plain = inside < size && inside + Bytes <= size && place.at % Bytes == 0;
        if (plain) {
            const uint32_t *writes = now.writes + place.at / 4, age = now.barrier - now.born;
            uint32_t* reads = now.reads + place.at / 4;
            for (uint32_t i = 0; i < Bytes / 4; ++i) plain &= (writes[i] - now.born < age) & (reads[i] < now.barrier);
            if (plain) {
                for (uint32_t i = 0; i < Bytes / 4; ++i) reads[i] = now.stamp;
                return;
            }
        }
    }
    check_read_fully(place, Bytes);
}

template <uint32_t Bytes>
inline void check_write(const Place& place) {
    const uint64_t inside = static_cast<uint64_t>(place.at - place.begin);
    if constexpr (Bytes >= 4) {
        const Running& now = running;
        const uint32_t size = place.end - place.begin;
        bool plain = inside < size && inside + Bytes <= size && place.at % Bytes == 0;
        if (plain) {
            uint32_t* writes = now.writes + place.at / 4;
            const uint32_t* reads = now.reads + place.at / 4;
            for (uint32_t i = 0; i < Bytes / 4; ++i) plain &= (writes[i] < now.barrier) & (reads[i] < now.barrier);
            if (plain) {
                for (uint32_t i = 0; i < Bytes / 4; ++i) writes[i] = now.stamp;
                return;
            }
        }
    }
    check_write_fully(place, Bytes);
}

}  // namespace sdn::cuda::emulation
