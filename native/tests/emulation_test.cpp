// The emulator runs correct kernels correctly, in any order: collectives, fragment layouts, pipelines, captures.
#include <algorithm>
#include <atomic>
#include <bit>
#include <mutex>
#include <random>
#include <set>

#include "tests/emulation_support.h"
#include "tests/tolerances.h"

namespace sdn::test {

namespace {

using namespace cuda::emulated;
using cuda::emulation::Shape;

// ---- collectives -------------------------------------------------------------------------------------------------------

TEST(EmulationCollective, Shuffles_GiveEachLaneTheOthersValue) {
    std::vector<int32_t> from(128), xored(128), down(128);
    std::vector<double> doubles(128);
    std::vector<uint32_t> ballots(128);
    run_kernel({1, 1, 1, 128, 0}, [&] {
        const int i = thread_index();
        from[i] = shuffle(int32_t{i}, 3 * i % 32);
        xored[i] = shuffle_xor(int32_t{i}, 5);
        down[i] = shuffle_down(int32_t{i}, 3);
        doubles[i] = shuffle_xor(1.0 / (i + 1), 16);
        ballots[i] = ballot(i % 3 == 0);
    });
    for (int i = 0; i < 128; ++i) {
        const int lane = i % 32, base = i - lane;
        EXPECT_EQ(from[i], base + 3 * i % 32);
        EXPECT_EQ(xored[i], i ^ 5);
        EXPECT_EQ(down[i], lane + 3 < 32 ? i + 3 : i);
        EXPECT_EQ(doubles[i], 1.0 / ((i ^ 16) + 1));
        uint32_t expected = 0;
        for (int j = 0; j < 32; ++j) expected |= static_cast<uint32_t>((base + j) % 3 == 0) << j;
        EXPECT_EQ(ballots[i], expected);
    }
}

TEST(EmulationCollective, SyncBlockOr_IsOfThisBarrierAlone) {
    std::vector<int> seen(3 * 96);
    run_kernel({1, 1, 1, 96, 0}, [&] {
        for (int round = 0; round < 3; ++round) seen[round * 96 + thread_index()] = sync_block_or(round == 1 && thread_index() == 70);
    });
    for (int i = 0; i < 3 * 96; ++i) EXPECT_EQ(seen[i], i / 96 == 1);
}

// ---- order -------------------------------------------------------------------------------------------------------------

std::vector<int> thread_order(uint64_t seed) {
    const OrderSeed order(seed);
    std::vector<int> begun;
    run_kernel({1, 1, 1, 256, 0}, [&] {
        sync_block();
        begun.push_back(thread_index());
    });
    return begun;
}

TEST(EmulationOrder, SeedsGiveDifferentOrders_OfAllThreads) {
    std::set<std::vector<int>> orders;
    for (uint64_t seed = 1; seed <= 10; ++seed) {
        std::vector<int> begun = thread_order(seed);
        EXPECT_EQ(begun, thread_order(seed));
        orders.insert(begun);
        std::sort(begun.begin(), begun.end());
        for (int i = 0; i < 256; ++i) ASSERT_EQ(begun[i], i);
    }
    EXPECT_EQ(orders.size(), 10u);
}

TEST(EmulationOrder, EveryBlockRunsOnce) {
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const OrderSeed order(seed);
        std::vector<std::atomic<int>> runs(7 * 5 * 3);
        run_kernel({7, 5, 3, 32, 0}, [&] {
            EXPECT_EQ(grid_x() * 100 + grid_y() * 10 + grid_z(), 753);
            if (thread_index() == 0) ++runs[static_cast<size_t>((block_z() * 5 + block_y()) * 7 + block_x())];
        });
        for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
}

TEST(EmulationOrder, BlocksDoNotRunInTheirOwnOrder) {
    std::mutex mutex;
    std::vector<int64_t> begun;
    run_kernel({200, 1, 1, 32, 0}, [&] {
        if (thread_index() != 0) return;
        std::lock_guard lock(mutex);
        begun.push_back(block_x());
    });
    ASSERT_EQ(begun.size(), 200u);
    EXPECT_FALSE(std::is_sorted(begun.begin(), begun.end()));
}

// ---- fragments ---------------------------------------------------------------------------------------------------------

struct Position {
    int row, column;
};

// Where the element `high` (0, 1) of register i of a lane is in its matrix: the tables of the PTX manual for mma.m16n8k16.
Position in_a(int lane, int i, int high) {
    return {lane / 4 + (i == 1 || i == 3 ? 8 : 0), lane % 4 * 2 + high + (i >= 2 ? 8 : 0)};
}
Position in_b(int lane, int i, int high) {
    return {lane % 4 * 2 + high + (i == 1 ? 8 : 0), lane / 4};
}
Position in_d(int lane, int i) {
    return {lane / 4 + (i >= 2 ? 8 : 0), lane % 4 * 2 + i % 2};
}

template <class T>
void multiply(const float (&a)[16][16], const float (&b)[16][8], float (&d)[16][8]) {
    run_kernel({1, 1, 1, 32, 0}, [&] {
        const int lane = lane_index();
        uint32_t a_part[4], b_part[2];
        float d_part[4];
        for (int i = 0; i < 4; ++i) {
            const Position low = in_a(lane, i, 0), high = in_a(lane, i, 1), own = in_d(lane, i);
            a_part[i] = pack2<T>(a[low.row][low.column], a[high.row][high.column]);
            d_part[i] = d[own.row][own.column];
        }
        for (int i = 0; i < 2; ++i) {
            const Position low = in_b(lane, i, 0), high = in_b(lane, i, 1);
            b_part[i] = pack2<T>(b[low.row][low.column], b[high.row][high.column]);
        }
        mma_m16n8k16<T>(d_part, a_part, b_part);
        for (int i = 0; i < 4; ++i) d[in_d(lane, i).row][in_d(lane, i).column] = d_part[i];
    });
}

template <class T>
void check_multiply() {
    // A one at (i, k) of a picks row k of b into row i of d: every element of each fragment at its place.
    float b[16][8];
    for (int k = 0; k < 16; ++k)
        for (int j = 0; j < 8; ++j) b[k][j] = static_cast<float>(8 * k + j + 1);
    for (int one = 0; one < 256; ++one) {
        float a[16][16] = {}, d[16][8] = {};
        a[one / 16][one % 16] = 1;
        multiply<T>(a, b, d);
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < 8; ++j) ASSERT_EQ(d[i][j], i == one / 16 ? b[one % 16][j] : 0.0f) << one << ": " << i << ", " << j;
    }
    // Sums in float, k ascending.
    std::mt19937 random(1);
    const auto value = [&] { return to_float(from_float<T>(static_cast<float>(random() % 20001) / 10000.0f - 1.0f)); };
    float a[16][16], d[16][8], expected[16][8];
    for (auto& row : a)
        for (float& x : row) x = value();
    for (auto& row : b)
        for (float& x : row) x = value();
    for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 8; ++j) {
            expected[i][j] = d[i][j] = value();
            for (int k = 0; k < 16; ++k) {
                const float product = a[i][k] * b[k][j];
                expected[i][j] += product;
            }
        }
    }
    multiply<T>(a, b, d);
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 8; ++j) ASSERT_EQ(d[i][j], expected[i][j]) << i << ", " << j;
}

TEST(EmulationFragment, MmaHalf_EveryElementAtItsPlace) {
    check_multiply<half>();
}
TEST(EmulationFragment, MmaBfloat16_EveryElementAtItsPlace) {
    check_multiply<bfloat16>();
}

template <bool Transposed, int Count>
void check_load() {
    std::vector<uint32_t> got(32 * Count);
    run_kernel({1, 1, 1, 32, 32 * 24 * 2}, [&] {
        const Shared<half> tile = shared_array<half>(0, 32 * 24);  // rows of 24, of which 8 are loaded
        const int lane = lane_index();
        for (int i = 0; i < 8; ++i) tile[lane * 24 + 8 + i] = half{static_cast<uint16_t>(8 * lane + i)};
        sync_warp();
        uint32_t r[Count];
        load_matrices<Transposed>(r, tile + (lane * 24 + 8));
        for (int i = 0; i < Count; ++i) got[static_cast<size_t>(lane * Count + i)] = r[i];
    });
    for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < Count; ++i) {
            for (int high = 0; high < 2; ++high) {
                const int r = lane / 4, c = lane % 4 * 2 + high, row = Transposed ? c : r, column = Transposed ? r : c;
                ASSERT_EQ(got[static_cast<size_t>(lane * Count + i)] >> 16 * high & 0xffff,
                          static_cast<uint32_t>(8 * (8 * i + row) + column))
                    << "lane " << lane << ", matrix " << i;
            }
        }
    }
}

TEST(EmulationFragment, LoadMatrices_EveryElementAtItsPlace) {
    check_load<false, 1>();
    check_load<false, 2>();
    check_load<false, 4>();
    check_load<true, 1>();
    check_load<true, 2>();
    check_load<true, 4>();
}

// ---- whole kernels -----------------------------------------------------------------------------------------------------

SDN_KERNEL void block_sums(float* sums, const float* x, int count) {
    const Shared<float> partial = shared_array<float>(0, 32);
    float sum = 0;
    for (int64_t i = block_x() * block_threads() + thread_index(); i < count; i += grid_x() * block_threads()) sum += x[i];
    sum = warp_sum(sum);
    if (lane_index() == 0) partial[warp_index()] = sum;
    sync_block();
    if (warp_index() != 0) return;
    sum = lane_index() < block_threads() / kWarpThreads ? static_cast<float>(partial[lane_index()]) : 0.0f;
    sum = warp_sum(sum);
    if (lane_index() == 0) sums[block_x()] = sum;
}

TEST(EmulationKernel, Reduction_IsTheSameBitsInAnyOrder) {
    constexpr int kCount = 10007, kBlocks = 9;
    std::mt19937 random(2);
    std::vector<float> x(kCount);
    double expected = 0;
    for (float& value : x) {
        value = static_cast<float>(random()) / 4294967296.0f - 0.5f;
        expected += static_cast<double>(value);
    }
    std::vector<float> first;
    for (uint64_t seed = 1; seed <= 2 * kSeeds; ++seed) {
        const OrderSeed order(seed);
        std::vector<float> sums(kBlocks);
        run_kernel({kBlocks, 1, 1, 160, 128}, [&] { block_sums(sums.data(), x.data(), kCount); });
        if (first.empty()) first = sums;
        EXPECT_EQ(sums, first);
    }
    double sum = 0;
    for (const float value : first) sum += static_cast<double>(value);
    EXPECT_NEAR(sum, expected, 1e-3);
}

// c [m, n] = a [m, k] * b [k, n], both row-major: 32 x 32 tiles by four warps of 16 x 16, k in steps of 32 over three stages of cp.async.
struct Product {
    static constexpr int kTile = 32, kStages = 3, kStride = kTile + 8, kStageElements = kTile * kStride;
    static constexpr int kSharedBytes = 2 * kStages * kStageElements * 2;

    static void begin_stage(Shared<half> a_tile, Shared<half> b_tile, const half* a, const half* b, int m, int n, int k, int step) {
        const int row = thread_index() / 4, column = thread_index() % 4 * 8;
        const int64_t a_row = block_y() * kTile + row, a_column = int64_t{step} * kTile + column;
        const int64_t b_row = int64_t{step} * kTile + row, b_column = block_x() * kTile + column;
        const bool a_there = a_row < m && a_column < k, b_there = b_row < k && b_column < n;
        copy_async<16>(a_tile + (row * kStride + column), a_there ? a + a_row * k + a_column : a, a_there);
        copy_async<16>(b_tile + (row * kStride + column), b_there ? b + b_row * n + b_column : b, b_there);
    }

    static SDN_KERNEL void kernel(float* c, const half* a, const half* b, int m, int n, int k) {
        const Shared<half> a_tiles = shared_array<half>(0, kStages * kStageElements);
        const Shared<half> b_tiles = shared_array<half>(kStages * kStageElements * 2, kStages * kStageElements);
        const int steps = ceil_div(k, kTile), lane = lane_index(), warp_row = warp_index() / 2 * 16, warp_column = warp_index() % 2 * 16;
        for (int step = 0; step < kStages - 1; ++step) {
            if (step < steps) begin_stage(a_tiles + step * kStageElements, b_tiles + step * kStageElements, a, b, m, n, k, step);
            commit_async();
        }
        float d[2][4] = {};
        for (int step = 0; step < steps; ++step) {
            wait_async<kStages - 2>();
            sync_block();
            if (const int next = step + kStages - 1; next < steps)
                begin_stage(a_tiles + next % kStages * kStageElements, b_tiles + next % kStages * kStageElements, a, b, m, n, k, next);
            commit_async();
            const Shared<half> a_tile = a_tiles + step % kStages * kStageElements, b_tile = b_tiles + step % kStages * kStageElements;
            for (int inner = 0; inner < kTile; inner += 16) {
                uint32_t a_part[4], b_part[4];
                load_matrices<false>(a_part, a_tile + ((warp_row + lane % 16) * kStride + inner + lane / 16 * 8));
                load_matrices<true>(b_part, b_tile + ((inner + lane % 16) * kStride + warp_column + lane / 16 * 8));
                mma_m16n8k16<half>(d[0], a_part, {b_part[0], b_part[1]});
                mma_m16n8k16<half>(d[1], a_part, {b_part[2], b_part[3]});
            }
        }
        for (int part = 0; part < 2; ++part) {
            for (int i = 0; i < 4; ++i) {
                const int64_t row = block_y() * kTile + warp_row + lane / 4 + i / 2 * 8;
                const int64_t column = block_x() * kTile + warp_column + part * 8 + lane % 4 * 2 + i % 2;
                if (row < m && column < n) c[row * n + column] = d[part][i];
            }
        }
    }
};

void check_product(int m, int n, int k) {
    std::mt19937 random(static_cast<uint32_t>(m + n + k));
    const auto fill = [&](std::vector<half>& x) {
        for (half& value : x) value = half_from(static_cast<float>(random()) / 2147483648.0f - 1.0f);
    };
    std::vector<half> a(static_cast<size_t>(m * k)), b(static_cast<size_t>(k * n));
    fill(a);
    fill(b);
    std::vector<float> first;
    for (uint64_t seed = 1; seed <= 4; ++seed) {
        const OrderSeed order(seed);
        std::vector<float> c(static_cast<size_t>(m * n));
        run_kernel({ceil_div(n, 32), ceil_div(m, 32), 1, 128, Product::kSharedBytes},
                   [&] { Product::kernel(c.data(), a.data(), b.data(), m, n, k); });
        if (first.empty()) first = c;
        ASSERT_EQ(c, first);
    }
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            double expected = 0, magnitude = 0;
            for (int l = 0; l < k; ++l) {
                const double product = static_cast<double>(to_float(a[static_cast<size_t>(i * k + l)])) *
                                       static_cast<double>(to_float(b[static_cast<size_t>(l * n + j)]));
                expected += product;
                magnitude += std::abs(product);
            }
            // k roundings of sums, each at most half a unit of the last place.
            ASSERT_NEAR(first[static_cast<size_t>(i * n + j)], expected, k * 0x1p-24 * magnitude) << i << ", " << j;
        }
    }
}

TEST(EmulationKernel, PipelinedProduct_MatchesDouble) {
    check_product(32, 32, 32);
    check_product(64, 96, 160);
    check_product(17, 40, 88);
    check_product(1, 8, 8);
}

TEST(EmulationKernel, AsyncCopy_IsZeroWhereNotValid) {
    alignas(16) float source[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    float got[8] = {};
    const float* address = source;
    run_kernel({1, 1, 1, 32, 128}, [&] {
        const Shared<float> tile = shared_array<float>(0, 8);
        if (thread_index() < 2) copy_async<16>(tile + 4 * thread_index(), address + 4 * thread_index(), thread_index() == 0);
        commit_async();
        wait_async<0>();
        sync_block();
        if (thread_index() < 8) got[thread_index()] = tile[thread_index()];
    });
    for (int i = 0; i < 8; ++i) EXPECT_EQ(got[i], i < 4 ? static_cast<float>(i + 1) : 0.0f);
}

TEST(EmulationKernel, SharedElements_ReadWriteAndUpdate) {
    float got[3] = {};
    run_kernel({1, 1, 1, 32, 128}, [&] {
        if (thread_index() != 0) return;
        const Shared<float> tile = shared_array<float>(0, 8);
        tile[0] = 2;
        tile[1] = tile[0];
        tile[1] += 3.0f;
        tile[1] *= 4.0f;
        tile[1] -= 1.0f;
        tile[2] = tile[1];
        tile.write<2>(4, {{7, 8}});
        const Vec<float, 2> pair = tile.read<2>(4);
        got[0] = tile[1];
        got[1] = tile[2];
        got[2] = pair[0] + pair[1];
    });
    EXPECT_EQ(got[0], 19);
    EXPECT_EQ(got[1], 19);
    EXPECT_EQ(got[2], 15);
}

// ---- captures ----------------------------------------------------------------------------------------------------------

TEST(EmulationCapture, Launch_RunsWhenReplayedWithTheArgumentsItHad) {
    std::vector<cuda::emulation::Recorded> recorded;
    cuda::emulation::Stream stream{&recorded};
    cuda::Queue queue = emulated_queue();
    queue.stream = &stream;
    float sum = -1, x[4] = {1, 2, 3, 4};
    int count = 4;
    cuda::emulation::launch(queue, "captured", {1, 1, 1, 64, 128}, [out = &sum, in = x, count] { block_sums(out, in, count); });
    count = 1;
    EXPECT_EQ(sum, -1);
    ASSERT_EQ(recorded.size(), 1u);
    EXPECT_EQ(recorded[0].name, "captured");
    for (const float first : {1.0f, 5.0f}) {
        x[0] = first;
        cuda::emulation::run(recorded[0]);
        EXPECT_EQ(sum, first + 9);
    }
}

}  // namespace

}  // namespace sdn::test
