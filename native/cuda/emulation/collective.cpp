// What a thread does together with others, and cp.async.
#include <cstring>

#include "core/dtype_inline.h"
#include "core/error.h"
#include "cuda/emulation/block.h"

namespace sdn::cuda::emulation {

namespace {

constexpr int kRowBytes = 16;  // of a matrix of ldmatrix: 8 elements of 2 bytes

// Lane 8i + j has given the address of row j of matrix i; lane 4r + c gets the elements 2c and 2c + 1 of row (transposed: column) r.
void load_all(Warp& warp, int first_thread, int count, bool transposed) {
    uint16_t matrix[4][8][8];
    for (int lane = 0; lane < 8 * count; ++lane) {
        const Place& row = warp.rows[lane];
        check_warp_read(row, kRowBytes, first_thread + lane);
        std::memcpy(matrix[lane / 8][lane % 8], running.memory + row.at, kRowBytes);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
        const int r = lane / 4, c = lane % 4 * 2;
        for (int i = 0; i < count; ++i) {
            const uint32_t low = transposed ? matrix[i][c][r] : matrix[i][r][c];
            const uint32_t high = transposed ? matrix[i][c + 1][r] : matrix[i][r][c + 1];
            warp.results[lane][i] = low | high << 16;
        }
    }
}

template <bool IsHalf>
void widen(float* out, const uint16_t* x, int count) {
    for (int i = 0; i < count; ++i) out[i] = IsHalf ? baseline::float_from_half(x[i]) : baseline::float_from_bfloat16(x[i]);
}

// d [16, 8] += a [16, 16] * b [16, 8], with the fragments of cuda/primitives/mma.h; products and sums in float, k ascending.
template <bool IsHalf>
void multiply_all(Warp& warp, MultiplyBuffers& buffers) {
    auto& [a_bits, b_bits, a, b, d] = buffers;
    for (int lane = 0; lane < kLanes; ++lane) {
        const int g = lane / 4, t = lane % 4 * 2;
        const uint32_t *a_part = warp.a[lane], *b_part = warp.b[lane];
        for (int i = 0; i < 4; ++i) std::memcpy(&a_bits[g + i % 2 * 8][t + i / 2 * 8], a_part + i, sizeof(uint32_t));
        for (int i = 0; i < 2; ++i) {
            b_bits[t + 8 * i][g] = static_cast<uint16_t>(b_part[i]);
            b_bits[t + 8 * i + 1][g] = static_cast<uint16_t>(b_part[i] >> 16);
        }
        for (int i = 0; i < 4; ++i) d[g + i / 2 * 8][t + i % 2] = warp.d[lane][i];
    }
    widen<IsHalf>(a[0], a_bits[0], 256);
    widen<IsHalf>(reinterpret_cast<float*>(b), b_bits[0], 128);
    for (int i = 0; i < 16; ++i)
        for (int k = 0; k < 16; ++k) d[i] += a[i][k] * b[k];
    for (int lane = 0; lane < kLanes; ++lane) {
        const int g = lane / 4, t = lane % 4 * 2;
        for (int i = 0; i < 4; ++i) warp.d[lane][i] = d[g + i / 2 * 8][t + i % 2];
    }
}

int lane() {
    return running.thread % kLanes;
}

}  // namespace

void sync_block(Site site) {
    running.owner->meet_block(Stop::sync_block, site);
}

bool sync_block_or(bool value, Site site) {
    Block& block = *running.owner;
    if (value) block.set_any();
    block.meet_block(Stop::sync_block_or, site);
    return block.last_any();
}

void sync_warp(Site site) {
    Block& block = *running.owner;
    block.meet_warp(Stop::sync_warp, site, [&block](Warp&) { block.start_warp_epoch(); });
}

uint64_t exchange(Stop stop, uint64_t value, int from_lane, Site site) {
    Block& block = *running.owner;
    Warp& warp = block.warp();
    const uint64_t* values = warp.values[warp.parity];
    warp.values[warp.parity][lane()] = value;
    block.meet_warp(stop, site, [](Warp&) {});
    return values[from_lane & (kLanes - 1)];
}

uint32_t ballot(bool value, Site site) {
    Block& block = *running.owner;
    Warp& warp = block.warp();
    const uint64_t* values = warp.values[warp.parity];
    warp.values[warp.parity][lane()] = value;
    block.meet_warp(Stop::ballot, site, [](Warp&) {});
    uint32_t result = 0;
    for (int i = 0; i < kLanes; ++i) result |= static_cast<uint32_t>(values[i]) << i;
    return result;
}

void load_matrices(const Place& row, int count, bool transposed, uint32_t* result, Site site) {
    Block& block = *running.owner;
    Warp& warp = block.warp();
    warp.rows[lane()] = row;
    warp.results[lane()] = result;
    const int first_thread = running.thread - lane();
    block.meet_warp(Stop::load_matrices, site, [=](Warp& all) { load_all(all, first_thread, count, transposed); });
}

void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b, bool is_half, Site site) {
    Block& block = *running.owner;
    Warp& warp = block.warp();
    warp.d[lane()] = d;
    warp.a[lane()] = a;
    warp.b[lane()] = b;
    block.meet_warp(Stop::mma, site, [&](Warp& all) {
        is_half ? multiply_all<true>(all, block.multiply_buffers) : multiply_all<false>(all, block.multiply_buffers);
    });
}

// ---- cp.async ----------------------------------------------------------------------------------------------------------

void copy_async(const Place& target, const void* source, int bytes, bool valid) {
    if (reinterpret_cast<uintptr_t>(source) % static_cast<uintptr_t>(bytes) != 0) misaligned(source, bytes);
    begin_landing(target, static_cast<uint32_t>(bytes));
    running.owner->copies().copies.push_back({target, source, bytes, valid});
}

void commit_async() {
    AsyncCopies& own = running.owner->copies();
    own.groups.push_back(own.copies.size());
}

// The source is read as late as possible: a kernel that changes it too early is found out.
void wait_async(int pending) {
    AsyncCopies& own = running.owner->copies();
    while (own.groups.size() - own.groups_landed > static_cast<size_t>(pending)) {
        for (const size_t end = own.groups[own.groups_landed++]; own.landed < end; ++own.landed) {
            const AsyncCopies::Copy& copy = own.copies[own.landed];
            unsigned char* const target = running.memory + copy.target.at;
            if (!copy.valid)
                std::memset(target, 0, static_cast<size_t>(copy.bytes));
            else if (copy.bytes == 16)
                std::memcpy(target, copy.source, 16);  // inline, for nearly all copies
            else
                std::memcpy(target, copy.source, static_cast<size_t>(copy.bytes));
            end_landing(copy.target, static_cast<uint32_t>(copy.bytes));
        }
    }
    own.forget_landed();
}

// ---- the rest ----------------------------------------------------------------------------------------------------------

void require_array(int64_t offset, int64_t count, int64_t element) {
    Block& block = *running.owner;
    if (offset < 0 || count < 0 || offset % 16 != 0)
        block.fault(running.thread, "asks for a shared array at byte %lld: it must begin at a multiple of 16",
                    static_cast<long long>(offset));
    if (offset + count * element > block.shared_bytes())
        block.fault(running.thread,
                    "asks for a shared array of %lld elements of %lld bytes at byte %lld: the block was launched with %u bytes",
                    static_cast<long long>(count), static_cast<long long>(element), static_cast<long long>(offset), block.shared_bytes());
}

void misaligned(const void* address, int64_t bytes) {
    running.owner->fault(running.thread, "accesses %lld bytes of global memory at %p: the address must be a multiple of %lld",
                         static_cast<long long>(bytes), address, static_cast<long long>(bytes));
}

}  // namespace sdn::cuda::emulation
