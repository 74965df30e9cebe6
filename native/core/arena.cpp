#include "core/arena.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "core/memory.h"

namespace sdn {

int64_t Arena::alloc(int64_t bytes) {
    if (bytes < 0) fail(SDN_ERROR_INVALID_ARGUMENT, "cannot take %lld bytes from an arena", static_cast<long long>(bytes));
    if (bytes > (int64_t{1} << 60)) fail(SDN_ERROR_OUT_OF_MEMORY, "%lld bytes are more than any arena has", static_cast<long long>(bytes));
    const int64_t size = std::max(round_up(bytes, kAlignment), kAlignment);

    auto best = holes_.end();
    for (auto hole = holes_.begin(); hole != holes_.end(); ++hole)
        if (hole->second >= size && (best == holes_.end() || hole->second < best->second)) best = hole;

    int64_t offset;
    if (best != holes_.end()) {
        const auto [hole_offset, hole_size] = *best;
        offset = hole_offset;
        holes_.erase(best);
        if (hole_size > size) holes_.emplace(hole_offset + size, hole_size - size);
    } else {
        offset = end_;
        if (size > capacity_ - end_)
            fail(SDN_ERROR_OUT_OF_MEMORY, "needs %lld more bytes, but the arena of %lld bytes has %lld in use and no gap of that size",
                 static_cast<long long>(size), static_cast<long long>(capacity_), static_cast<long long>(live_));
        end_ += size;
        peak_ = std::max(peak_, end_);
    }
    used_.emplace(offset, size);
    live_ += size;
    return offset;
}

int64_t Arena::release(int64_t offset) {
    const auto block = used_.find(offset);
    if (block == used_.end())
        fail(SDN_ERROR_INVALID_ARGUMENT, "no live block begins there: it was freed already, or belongs to another exec");
    const int64_t size = block->second;
    used_.erase(block);
    live_ -= size;

    int64_t begin = offset, end = offset + size;
    auto next = holes_.lower_bound(offset);
    if (next != holes_.end() && next->first == end) {
        end += next->second;
        next = holes_.erase(next);
    }
    if (next != holes_.begin()) {
        const auto previous = std::prev(next);
        if (previous->first + previous->second == begin) {
            begin = previous->first;
            holes_.erase(previous);
        }
    }
    if (end == end_)
        end_ = begin;
    else
        holes_.emplace(begin, end - begin);
    return size;
}

void Arena::reset() {
    used_.clear();
    holes_.clear();
    end_ = live_ = peak_ = 0;
}

}  // namespace sdn
