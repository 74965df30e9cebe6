// Where in an arena each block lies. Only offsets: the same sequence of calls gives the same offsets whether or not there is memory
// behind them, so the peak of a measured run is the peak of the real one.
#pragma once

#include <cstdint>
#include <map>

namespace sdn {

// Best fit over free blocks, the lowest address on a tie; free neighbours are joined. All sizes are multiples of 64 bytes.
class Arena {
  public:
    static constexpr int64_t kUnlimited = INT64_MAX;

    explicit Arena(int64_t capacity) : capacity_(capacity) {}

    // Offset of a new block; fails with SDN_ERROR_OUT_OF_MEMORY where the arena is too small.
    int64_t alloc(int64_t bytes);
    // Size of the freed block; fails with SDN_ERROR_INVALID_ARGUMENT where there is no such block.
    int64_t release(int64_t offset);
    void reset();

    int64_t capacity() const { return capacity_; }
    int64_t live_bytes() const { return live_; }
    int64_t peak_bytes() const { return peak_; }  // end of the highest block so far: the arena that suffices
    int64_t end_bytes() const { return end_; }

  private:
    int64_t capacity_;
    int64_t end_ = 0;  // everything from here on is free
    int64_t live_ = 0;
    int64_t peak_ = 0;
    std::map<int64_t, int64_t> used_;   // offset -> size
    std::map<int64_t, int64_t> holes_;  // offset -> size, below end_, never two in a row
};

}  // namespace sdn
