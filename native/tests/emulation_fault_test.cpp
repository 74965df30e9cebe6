// What the emulator promises to find: for each a kernel with that fault, and the corrected one, which passes.
#include <cstdlib>

#include "tests/emulation_support.h"

namespace sdn::test {

namespace {

using namespace cuda::emulated;

constexpr int kThreads = 64;  // two warps
constexpr cuda::emulation::Shape kBlock{1, 1, 1, kThreads, 1024};

Shared<float> floats(int count = kThreads) {
    return shared_array<float>(0, count);
}

// ---- races -------------------------------------------------------------------------------------------------------------

TEST(EmulationRace, ReadOfAnotherWarpsWrite_NeedsABlockBarrier) {
    const auto kernel = [](auto barrier) {
        return [barrier] {
            const Shared<float> tile = floats();
            tile[thread_index()] = 0;
            sync_block();
            tile[thread_index()] = 1;
            barrier();
            const float other = tile[(thread_index() + 32) % kThreads];
            (void)other;
        };
    };
    expect_fault(kBlock, kernel([] {}), {"race: ", "which has been ", " by thread ", "without sync_block"});
    expect_fault(kBlock, kernel([] { sync_warp(); }), {"race: "});
    expect_no_fault(kBlock, kernel([] { sync_block(); }));
}

TEST(EmulationRace, ReadOfAnotherLanesWrite_NeedsAWarpBarrier) {
    const auto kernel = [](auto barrier) {
        return [barrier] {
            const Shared<float> tile = floats();
            tile[thread_index()] = 0;
            sync_block();
            tile[thread_index()] = 1;
            barrier();
            const float other = tile[thread_index() ^ 1];
            (void)other;
        };
    };
    expect_fault(kBlock, kernel([] {}), {"race: ", "without sync_warp or sync_block"});
    // A shuffle waits, but does not order memory.
    expect_fault(kBlock, kernel([] { shuffle(1.0f, 0); }), {"race: "});
    expect_no_fault(kBlock, kernel([] { sync_warp(); }));
    expect_no_fault(kBlock, kernel([] { sync_block(); }));
    expect_no_fault(kBlock, kernel([] { sync_block_or(false); }));
}

TEST(EmulationRace, WriteAfterAnotherThreadsRead_NeedsABarrier) {
    const auto kernel = [](auto barrier, int distance) {
        return [barrier, distance] {
            const Shared<float> tile = floats();
            tile[thread_index()] = 1;
            sync_block();
            const float other = tile[(thread_index() + distance) % kThreads];
            barrier();
            tile[thread_index()] = other;
        };
    };
    expect_fault(kBlock, kernel([] {}, 1), {"race: ", "without sync_"});
    expect_fault(kBlock, kernel([] {}, 32), {"race: ", "without sync_block"});
    expect_fault(kBlock, kernel([] { sync_warp(); }, 32), {"race: ", "without sync_block"});
    expect_no_fault(kBlock, kernel([] { sync_block(); }, 32));
    expect_no_fault(kBlock, kernel([] { sync_warp(); }, 0));
}

TEST(EmulationRace, WriteAfterReadsOfManyThreads_NeedsABlockBarrier) {
    const auto kernel = [](bool barrier) {
        return [barrier] {
            const Shared<float> tile = floats();
            if (thread_index() == 0) tile[5] = 1;
            sync_block();
            const float all = tile[5];
            if (barrier) sync_block();
            sync_warp();
            if (thread_index() == 40) tile[5] = all;
        };
    };
    expect_fault(kBlock, kernel(false), {"race: ", "byte 20 of shared memory (element 5 of the array at byte 0)"});
    expect_no_fault(kBlock, kernel(true));
}

TEST(EmulationRace, TwoWritesOfOneElement_AreARaceEvenWithTheSameValue) {
    expect_fault(kBlock, [] { floats()[7] = 1; }, {"race: writes byte 28", "which has been written by thread"});
    expect_no_fault(kBlock, [] {
        if (thread_index() == 9) floats()[7] = 1;
    });
}

TEST(EmulationRace, Bytes_AreToldApart) {
    // Neighbouring halves by different threads share no byte.
    expect_no_fault(kBlock, [] {
        const Shared<half> tile = shared_array<half>(16, kThreads);
        tile[thread_index()] = half_from(1);
        const half own = tile[thread_index()];
        tile[thread_index()] = own;
    });
    expect_fault(kBlock,
                 [] {
                     const Shared<half> tile = shared_array<half>(16, kThreads);
                     if (thread_index() % 2 == 0)
                         tile.write<2>(thread_index(), Vec<half, 2>{});
                     else
                         tile[thread_index()] = half_from(1);
                 },
                 {"race: writes byte"});
    expect_fault(kBlock,
                 [] {
                     const Shared<uint8_t> tile = shared_array<uint8_t>(0, kThreads);
                     tile[thread_index()] = 1;
                     sync_block();
                     const uint8_t own = tile[thread_index()];
                     if (thread_index() == 6) tile[7] = own;
                 },
                 {"race: ", "byte 7 of shared memory (element 7"});
}

TEST(EmulationRace, AfterMoreBarriersThanTheClockCounts_AreStillFound) {
    bool got_through = false;
    const std::string text = fault_of({1, 1, 1, 32, 1024}, [&] {
        const Shared<float> tile = floats(32);
        tile[thread_index()] = 1;
        for (int i = 0; i < (1 << 21) + 1000; ++i) sync_warp();
        const float other = tile[thread_index() ^ 1];
        sync_warp();
        got_through = true;
        if (thread_index() == 8) tile[9] = other;
        if (thread_index() == 9) tile[9] = other;
    });
    EXPECT_TRUE(got_through);
    EXPECT_NE(text.find("race: writes byte 36"), std::string::npos) << text;
}

// ---- what is in shared memory ------------------------------------------------------------------------------------------

TEST(EmulationShared, ReadOfWhatNobodyHasWritten_IsFound) {
    expect_fault(kBlock,
                 [] {
                     const Shared<float> tile = floats();
                     if (thread_index() < kThreads - 1) tile[thread_index()] = 1;
                     sync_block();
                     const float last = tile[kThreads - 1];
                     (void)last;
                 },
                 {"reads byte 252 of shared memory (element 63 of the array at byte 0), which nobody has written"});
    // One byte of sixteen.
    expect_fault(kBlock,
                 [] {
                     const Shared<uint8_t> tile = shared_array<uint8_t>(0, 16);
                     if (thread_index() < 16 && thread_index() != 11) tile[thread_index()] = 1;
                     sync_block();
                     tile.read<16>(0);
                 },
                 {"reads byte 11 ", "which nobody has written"});
}

TEST(EmulationShared, WhatTheBlockBeforeHasWritten_IsNotThere) {
    expect_fault({100, 1, 1, 32, 1024},
                 [] {
                     const Shared<float> tile = floats(32);
                     if (block_x() != 50) tile[thread_index()] = 1;
                     const float own = tile[thread_index()];
                     (void)own;
                 },
                 {"block (50, 0, 0)", "which nobody has written"});
}

TEST(EmulationShared, OutOfBounds_IsFound) {
    const auto reads_at = [](int element) {
        return [element] {
            const Shared<float> tile = shared_array<float>(16, 8), rest = shared_array<float>(48, 8);
            if (thread_index() < 8) {
                tile[thread_index()] = 1;
                rest[thread_index()] = 1;
            }
            sync_block();
            if (thread_index() == 3) {
                const float value = tile[element];
                (void)value;
            }
        };
    };
    expect_fault(kBlock, reads_at(8),
                 {"thread 3: is out of bounds: 4 bytes at element 8 of the shared array at byte 16, which has 8 elements of 4 bytes"});
    expect_fault(kBlock, reads_at(-1), {"is out of bounds: 4 bytes at element -1"});
    expect_fault(kBlock, reads_at(INT32_MAX), {"is out of bounds"});
    expect_fault(kBlock, reads_at(INT32_MIN), {"is out of bounds"});
    expect_no_fault(kBlock, reads_at(7));
    expect_fault(kBlock, [] { floats(10)[thread_index()] = 1; }, {"is out of bounds"});
    expect_fault(kBlock, [] { floats(10).read<4>(8); }, {"is out of bounds: 16 bytes at element 8"});
    expect_fault(kBlock, [] { (floats(10) + 8).write<2>(1, {}); }, {"is out of bounds: 8 bytes at element 9"});
}

TEST(EmulationShared, ArrayBeyondTheBlocksAllocation_IsFound) {
    expect_fault(kBlock, [] { shared_array<float>(1008, 5); },
                 {"asks for a shared array of 5 elements of 4 bytes at byte 1008: the block was launched with 1024 bytes"});
    expect_fault(kBlock, [] { shared_array<float>(4, 5); }, {"must begin at a multiple of 16"});
    expect_fault({1, 1, 1, 32, 0}, [] { shared_array<float>(0, 1); }, {"launched with 0 bytes"});
    expect_no_fault(kBlock, [] { shared_array<float>(1008, 4); });
}

TEST(EmulationShared, WaitForAnotherThreadsWrite_IsFound) {
    const std::string text = fault_of(kBlock, [] {
        const Shared<int32_t> flag = shared_array<int32_t>(0, 1);
        if (thread_index() == 0) flag[0] = 0;
        sync_block();
        while (thread_index() == 33 && flag[0] == 0) {
        }
    });
    EXPECT_NE(text.find("thread 33: reads shared memory 16777216 times without a barrier or a collective"), std::string::npos) << text;
}

// ---- addresses ---------------------------------------------------------------------------------------------------------

TEST(EmulationAlignment, VectorsAtOddAddresses_AreFound) {
    expect_fault(kBlock, [] { floats().write<4>(2, {}); }, {"is misaligned: 16 bytes at byte 8 of shared memory (element 2"});
    expect_fault(kBlock, [] { floats().read<2>(1); }, {"is misaligned: 8 bytes at byte 4"});
    alignas(16) float global[8] = {};
    const float* address = global;
    expect_fault(kBlock, [=] { load_vec<4>(address + 2); }, {"accesses 16 bytes of global memory", "must be a multiple of 16"});
    expect_fault(kBlock, [=] { store_vec<2>(const_cast<float*>(address) + 1, Vec<float, 2>{}); }, {"must be a multiple of 8"});
    expect_no_fault(kBlock, [=] { load_vec<2>(address + 2); });
}

TEST(EmulationAlignment, AsyncCopiesAndMatrixRowsAtOddAddresses_AreFound) {
    alignas(16) static half global[32] = {};
    const half* address = global;
    expect_fault(kBlock, [=] { copy_async<16>(shared_array<half>(0, 512) + 8 * thread_index(), address + 4); },
                 {"accesses 16 bytes of global memory"});
    expect_fault(kBlock, [=] { copy_async<16>(shared_array<half>(0, 512) + 4, address); }, {"is misaligned: 16 bytes at byte 8"});
    expect_fault(kBlock,
                 [=] {
                     const Shared<half> tile = shared_array<half>(0, 512);
                     for (int i = thread_index(); i < 512; i += kThreads) tile[i] = half_from(1);
                     sync_block();
                     uint32_t r[4];
                     load_matrices<false>(r, tile + lane_index() * 8 + (lane_index() == 9 ? 1 : 0));
                 },
                 {"is misaligned: 16 bytes at byte 146"});
}

// ---- cp.async ----------------------------------------------------------------------------------------------------------

TEST(EmulationAsync, ReadBeforeTheWait_IsFound) {
    alignas(16) static float global[4 * kThreads] = {};
    const float* source = global;
    const auto kernel = [source](auto wait) {
        return [source, wait] {
            const Shared<float> first = shared_array<float>(0, 2 * kThreads), second = shared_array<float>(512, 2 * kThreads);
            copy_async<8>(first + 2 * thread_index(), source);
            commit_async();
            copy_async<8>(second + 2 * thread_index(), source);
            commit_async();
            wait();
            const float own = first[2 * thread_index()];
            (void)own;
        };
    };
    expect_fault(kBlock, kernel([] {}), {"reads byte", "where a cp.async of thread", "has not landed"});
    expect_fault(kBlock, kernel([] { sync_block(); }), {"has not landed"});
    expect_fault(kBlock, kernel([] { wait_async<2>(); }), {"has not landed"});
    expect_no_fault(kBlock, kernel([] { wait_async<1>(); }));
    expect_no_fault(kBlock, kernel([] { wait_async<0>(); }));
}

TEST(EmulationAsync, WaitWithoutCommit_DoesNotLand) {
    alignas(16) static float global[4] = {};
    const float* source = global;
    expect_fault(kBlock,
                 [source] {
                     const Shared<float> tile = shared_array<float>(0, 4 * kThreads);
                     copy_async<16>(tile + 4 * thread_index(), source);
                     wait_async<0>();
                     const float own = tile[4 * thread_index()];
                     (void)own;
                 },
                 {"has not landed"});
}

TEST(EmulationAsync, AnotherThreadsCopy_NeedsItsWaitAndABarrier) {
    alignas(16) static float global[kThreads] = {};
    const float* source = global;
    const auto kernel = [source](bool wait_first) {
        return [source, wait_first] {
            const Shared<float> tile = floats();
            copy_async<4>(tile + thread_index(), source + thread_index());
            commit_async();
            if (wait_first) wait_async<0>();
            sync_block();
            wait_async<0>();
            const float other = tile[thread_index() ^ 1];
            (void)other;
        };
    };
    const auto without_barrier = [source] {
        const Shared<float> tile = floats();
        copy_async<4>(tile + thread_index(), source + thread_index());
        commit_async();
        wait_async<0>();
        const float other = tile[thread_index() ^ 1];
        (void)other;
    };
    // Which of the two it is depends on whether the other thread has come to its wait.
    const std::string text = fault_of(kBlock, kernel(false));
    EXPECT_TRUE(text.find("has not landed") != std::string::npos || text.find("race: reads") != std::string::npos) << text;
    expect_fault(kBlock, without_barrier, {"reads byte"});
    expect_no_fault(kBlock, kernel(true));
}

TEST(EmulationAsync, WriteWhereACopyIsUnderWay_IsFound) {
    alignas(16) static float global[4] = {};
    const float* source = global;
    expect_fault(kBlock,
                 [source] {
                     const Shared<float> tile = shared_array<float>(0, 4 * kThreads);
                     copy_async<16>(tile + 4 * thread_index(), source);
                     tile[4 * thread_index() + 1] = 2;
                 },
                 {"writes byte", "has not landed"});
}

TEST(EmulationAsync, StageReusedBeforeAllHaveReadIt_IsFound) {
    alignas(16) static float global[4] = {};
    const float* source = global;
    const auto kernel = [source](bool barrier) {
        return [source, barrier] {
            const Shared<float> tile = shared_array<float>(0, 4 * kThreads);
            for (int step = 0; step < 3; ++step) {
                copy_async<16>(tile + 4 * thread_index(), source);
                commit_async();
                wait_async<0>();
                sync_block();
                const float other = tile[4 * ((thread_index() + 32) % kThreads)];
                (void)other;
                if (barrier) sync_block();
            }
        };
    };
    expect_fault(kBlock, kernel(false), {"byte"});
    expect_no_fault(kBlock, kernel(true));
}

// ---- who takes part ----------------------------------------------------------------------------------------------------

TEST(EmulationParticipation, ThreadThatHasEnded_IsMissedAtABarrier) {
    expect_fault(kBlock,
                 [] {
                     if (thread_index() == 40) return;
                     sync_block();
                 },
                 {"sync_block (emulation_fault_test.cpp:", "all threads of the block must meet", "has ended"});
    expect_fault(kBlock,
                 [] {
                     if (thread_index() >= 32) return;  // a whole warp
                     sync_block();
                 },
                 {"sync_block (emulation_fault_test.cpp:", "has ended"});
}

TEST(EmulationParticipation, LaneThatHasEnded_IsMissedAtACollective) {
    const auto kernel = [](auto collective) {
        return [collective] {
            if (lane_index() == 7) return;
            collective();
        };
    };
    expect_fault(kBlock, kernel([] { sync_warp(); }), {"sync_warp (", "all threads of the warp must meet", "has ended"});
    expect_fault(kBlock, kernel([] { warp_sum(1.0f); }), {"shuffle_xor (thread.h:", "has ended"});
    expect_fault(kBlock, kernel([] { ballot(true); }), {"ballot (", "has ended"});
    expect_fault(kBlock, kernel([] {
                     float d[4] = {};
                     mma_m16n8k16<half>(d, {0, 0, 0, 0}, {0, 0});
                 }),
                 {"mma_m16n8k16 (", "has ended"});
    // Warps do not wait for each other there.
    expect_no_fault(kBlock, [] {
        if (warp_index() == 1) return;
        sync_warp();
        warp_sum(1.0f);
    });
}

TEST(EmulationParticipation, BarrierInADivergentBranch_IsFound) {
    expect_fault(kBlock,
                 [] {
                     if (lane_index() < 16)
                         sync_block();
                     else
                         sync_block();
                 },
                 {"is at sync_block (", "of its warp waits at sync_block (", "must meet at the same place"});
    expect_fault(kBlock,
                 [] {
                     if (warp_index() == 0)
                         sync_block();
                     else
                         sync_block();
                 },
                 {"all threads of the block must meet at the same place"});
    expect_fault(kBlock,
                 [] {
                     if (warp_index() == 0)
                         sync_block();
                     else
                         sync_block_or(true);
                 },
                 {"sync_block_or (", "all threads of the block must meet at the same place"});
}

TEST(EmulationParticipation, DifferentCollectivesOfAWarp_AreFound) {
    expect_fault(kBlock,
                 [] {
                     if (lane_index() == 3)
                         ballot(true);
                     else
                         shuffle(1.0f, 0);
                 },
                 {"ballot (", "shuffle (", "all 32 threads must meet at the same place"});
    expect_fault(kBlock,
                 [] {
                     if (lane_index() == 3)
                         sync_block();
                     else
                         shuffle_down(1.0f, 1);
                 },
                 {"sync_block (", "shuffle_down ("});
    expect_fault(kBlock,
                 [] {
                     if (lane_index() % 2 == 0)
                         shuffle_xor(1, 1);
                     else
                         shuffle_xor(2, 1);
                 },
                 {"is at shuffle_xor (", "waits at shuffle_xor ("});
}

TEST(EmulationParticipation, BarriersThatOthersNeverReach_AreFound) {
    // Each warp takes one more turn than the one before it: the last waits for ever.
    expect_fault(kBlock,
                 [] {
                     for (int i = 0; i <= warp_index(); ++i) sync_block();
                 },
                 {"sync_block (", "all threads of the block must meet", "has ended"});
    expect_fault(kBlock,
                 [] {
                     for (int i = 0; i < 1 + (thread_index() == 5 ? 1 : 0); ++i) sync_warp();
                 },
                 {"sync_warp (", "has ended"});
}

// ---- launches ----------------------------------------------------------------------------------------------------------

TEST(EmulationLaunch, ShapeThatNoGpuTakes_IsRefused) {
    const auto nothing = [] {};
    EXPECT_NE(fault_of({1, 1, 1, 32, 166913}, nothing).find("166913 bytes of shared memory per block; this device has 166912"),
              std::string::npos);
    EXPECT_EQ(fault_of({1, 1, 1, 32, 166912}, nothing), "nothing");
    for (const int threads : {0, 31, 48, 1056, -32})
        EXPECT_NE(fault_of({1, 1, 1, threads, 0}, nothing).find("multiple of 32"), std::string::npos);
    EXPECT_EQ(fault_of({1, 1, 1, 1024, 0}, nothing), "nothing");
    EXPECT_NE(fault_of({0, 1, 1, 32, 0}, nothing).find("grid of 0 x 1 x 1"), std::string::npos);
    EXPECT_NE(fault_of({1, 65536, 1, 32, 0}, nothing).find("at most"), std::string::npos);
    EXPECT_NE(fault_of({1, 1, 65536, 32, 0}, nothing).find("at most"), std::string::npos);
    EXPECT_NE(fault_of({int64_t{1} << 31, 1, 1, 32, 0}, nothing).find("at most"), std::string::npos);
}

TEST(EmulationLaunch, Fault_NamesKernelBlockAndThread) {
    EXPECT_EQ(fault_of({3, 4, 5, 64, 1024},
                       [] {
                           if (block_x() == 2 && block_y() == 1 && block_z() == 3 && thread_index() == 61) shared_array<float>(0, 300);
                       }),
              "kernel planted, block (2, 1, 3), thread 61: asks for a shared array of 300 elements of 4 bytes at byte 0: the block was "
              "launched with 1024 bytes");
}

TEST(EmulationLaunch, AfterAFault_TheNextLaunchIsClean) {
    for (int i = 0; i < 50; ++i) {
        EXPECT_NE(fault_of({4, 1, 1, 256, 1024},
                           [] {
                               sync_block();
                               if (thread_index() == 100) shared_array<float>(0, 300);
                               sync_block();
                           }),
                  "nothing");
        EXPECT_EQ(fault_of({4, 1, 1, 256, 1024}, [] { sync_block(); }), "nothing");
    }
}

int64_t descend(volatile char* above, int depth) {
    volatile char frame[512] = {};
    frame[0] = above[0];
    return depth == 0 ? frame[0] : descend(frame, depth - 1) + frame[0];
}

TEST(EmulationDeathTest, StackOverflow_EndsTheProcess) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(run_kernel({1, 1, 1, 32, 0},
                            [] {
                                volatile char bottom[1] = {};
                                if (descend(bottom, 1 << 20) == 12345) std::abort();
                            }),
                 "");
}

}  // namespace

}  // namespace sdn::test
