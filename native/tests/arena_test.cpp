#include "core/arena.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

sdn_status status_of(const std::function<void()>& body) {
    return guard("test", body);
}

}  // namespace

TEST(Arena, Alloc_RoundsToCacheLinesAndLaysBlocksInARow) {
    Arena arena(Arena::kUnlimited);
    EXPECT_EQ(arena.alloc(1), 0);
    EXPECT_EQ(arena.alloc(65), 64);
    EXPECT_EQ(arena.alloc(0), 192);  // an empty block has its own address
    EXPECT_EQ(arena.live_bytes(), 256);
    EXPECT_EQ(arena.peak_bytes(), 256);
}

TEST(Arena, Alloc_TakesTheSmallestHoleThatFits) {
    Arena arena(Arena::kUnlimited);
    const int64_t large = arena.alloc(256), between = arena.alloc(64), small = arena.alloc(128);
    arena.alloc(64);
    arena.release(large);
    arena.release(small);
    EXPECT_EQ(arena.alloc(128), small);
    EXPECT_EQ(arena.alloc(192), large);
    EXPECT_EQ(arena.alloc(64), large + 192);  // the rest of the large hole
    (void)between;
}

TEST(Arena, Release_JoinsNeighbours) {
    Arena arena(Arena::kUnlimited);
    const int64_t a = arena.alloc(64), b = arena.alloc(64), c = arena.alloc(64);
    arena.alloc(64);
    arena.release(a);
    arena.release(c);
    arena.release(b);
    EXPECT_EQ(arena.alloc(192), a);
    EXPECT_EQ(arena.peak_bytes(), 256);
}

TEST(Arena, Release_OfTheLastBlocksFreesTheEnd) {
    Arena arena(256);
    const int64_t a = arena.alloc(128), b = arena.alloc(128);
    arena.release(a);
    arena.release(b);
    EXPECT_EQ(arena.alloc(256), 0);
    EXPECT_EQ(arena.live_bytes(), 256);
}

TEST(Arena, Release_OfAnUnknownOrFreedBlockIsAnError) {
    Arena arena(Arena::kUnlimited);
    const int64_t a = arena.alloc(128);
    EXPECT_EQ(status_of([&] { arena.release(a + 64); }), SDN_ERROR_INVALID_ARGUMENT);
    arena.release(a);
    EXPECT_EQ(status_of([&] { arena.release(a); }), SDN_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(arena.live_bytes(), 0);
}

TEST(Arena, Alloc_OverTheCapacityNamesBothNumbers) {
    Arena arena(256);
    arena.alloc(192);
    expect_error(status_of([&] { arena.alloc(128); }), SDN_ERROR_OUT_OF_MEMORY, {"128", "256", "192"});
    EXPECT_EQ(arena.live_bytes(), 192);
    arena.alloc(64);
}

TEST(Arena, Alloc_OfNegativeOrHugeSizesIsAnError) {
    Arena arena(Arena::kUnlimited);
    EXPECT_EQ(status_of([&] { arena.alloc(-1); }), SDN_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(status_of([&] { arena.alloc(INT64_MAX); }), SDN_ERROR_OUT_OF_MEMORY);
}

TEST(Arena, Reset_ForgetsEverything) {
    Arena arena(256);
    arena.alloc(256);
    arena.reset();
    EXPECT_EQ(arena.live_bytes(), 0);
    EXPECT_EQ(arena.peak_bytes(), 0);
    EXPECT_EQ(arena.alloc(256), 0);
}

// Random work: blocks never overlap, an arena of exactly the measured peak suffices, and both make the same decisions.
TEST(Arena, RandomSequence_FitsItsMeasuredPeakWithoutOverlap) {
    for (uint32_t seed = 1; seed <= 20; ++seed) {
        struct Step {
            bool take;
            int64_t value;  // bytes to take, or which live block to free
        };
        std::vector<Step> steps;
        uint32_t state = seed;
        const auto next = [&state](uint32_t below) {
            state = state * 1664525u + 1013904223u;
            return static_cast<int64_t>((state >> 8) % below);
        };
        int64_t live = 0;
        for (int i = 0; i < 400; ++i) {
            const bool take = live == 0 || next(5) < 3;
            steps.push_back({take, take ? next(5000) : next(static_cast<uint32_t>(live))});
            live += take ? 1 : -1;
        }

        std::vector<int64_t> measured_offsets;
        int64_t peak = 0;
        for (const bool measuring : {true, false}) {
            Arena arena(measuring ? Arena::kUnlimited : peak);
            std::vector<int64_t> blocks, offsets;
            std::map<int64_t, int64_t> occupied;  // offset -> end
            for (const Step& step : steps) {
                if (!step.take) {
                    arena.release(blocks[static_cast<size_t>(step.value)]);
                    occupied.erase(blocks[static_cast<size_t>(step.value)]);
                    blocks.erase(blocks.begin() + step.value);
                    continue;
                }
                const int64_t offset = arena.alloc(step.value), end = offset + std::max<int64_t>(step.value, 1);
                const auto after = occupied.lower_bound(offset);
                ASSERT_EQ(offset % 64, 0);
                ASSERT_TRUE(after == occupied.end() || after->first >= end);
                ASSERT_TRUE(after == occupied.begin() || std::prev(after)->second <= offset);
                occupied.emplace(offset, end);
                blocks.push_back(offset);
                offsets.push_back(offset);
            }
            if (measuring) {
                peak = arena.peak_bytes();
                measured_offsets = offsets;
            } else {
                EXPECT_EQ(arena.peak_bytes(), peak);
                EXPECT_EQ(offsets, measured_offsets);
            }
        }
    }
}

}  // namespace sdn::test
