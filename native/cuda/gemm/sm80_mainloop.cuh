// The tensor-core mainloop: mma.sync.m16n8k16 over a ring of stages that cp.async fills.
//
// Per stage a warp makes Tile::Steps steps of k = 16. In each it holds RowTiles fragments of A and walks its columns in pairs of
// fragments of B. Everything for a pair is loaded while the pair before it is multiplied, across steps and stages; the block's one
// barrier per stage stands before the last two pairs, when all of the stage is in registers, so the stage can be filled again and the
// multiplications that are left cover the barrier and the first loads of the next stage.
#pragma once

#include "cuda/gemm/chunk_epilogue.cuh"
#include "cuda/gemm/sm80_loader.cuh"

namespace sdn::cuda::SDN_TARGET {

template <class Tile>
using Sums = float[Tile::RowTiles][Tile::ColumnTiles][4];

SDN_DEVICE void wait_for_all_but(int groups) {
    switch (groups) {
        case 0:
            return wait_async<0>();
        case 1:
            return wait_async<1>();
        case 2:
            return wait_async<2>();
        case 3:
            return wait_async<3>();
        default:
            return wait_async<4>();
    }
}

// Copies First .. First + Count of a stage, those that exist.
template <int First, int Count, class Load, class T>
SDN_DEVICE void copy_some(Load& loader, Shared<T> stage, bool wanted) {
    if constexpr (Count > 0 && First < Load::kCopies) {
        loader.template copy<First>(stage, wanted);
        copy_some<First + 1, Count - 1>(loader, stage, wanted);
    }
}

// One warp's share of a tile.
template <class T, class Tile, class Load>
class Mainloop {
  public:
    SDN_DEVICE Mainloop(const TensorProduct& t, Shared<T> ring, Load& loader, int32_t depths)
        : ring_(ring), loader_(loader), stages_(t.stages), depths_(depths) {
        const int lane = lane_index(), warp = warp_index() % (Tile::SliceThreads / kWarpThreads);
        const int slice = warp_index() / (Tile::SliceThreads / kWarpThreads);
        const int row = warp / Tile::WarpColumns * Tile::WarpM, column = warp % Tile::WarpColumns * Tile::WarpN;
        a_ = (row + lane % 16) * kDepth;
        b_ = (Tile::M + column + lane / 16 * 8 + lane % 8) * kDepth;
        chunk_of_a_ = (2 * slice * Tile::Steps + lane / 16) ^ (lane & 7);
        chunk_of_b_ = (2 * slice * Tile::Steps + lane / 8 % 2) ^ (lane & 7);
    }

    SDN_DEVICE void run(Sums<Tile>& sums) {
        for (int32_t depth = 0; depth < stages_ - 1; ++depth) {
            if (depth < depths_) copy_some<0, Load::kCopies>(loader_, ring_ + depth * Tile::StageElements, true);
            loader_.advance();
            commit_async();
        }
        wait_for_all_but(stages_ - 2);
        sync_block();
        SDN_UNROLL
        for (int i = 0; i < Tile::RowTiles; ++i) load_a(0, 0, i, fragments_a_[0][i]);
        load_b(0, 0, 0, fragments_b_[0]);
        const int32_t last = (stages_ - 1) * Tile::StageElements;
        int32_t now = 0, before = last;
        SDN_NO_UNROLL
        for (int32_t depth = 0; depth < depths_; ++depth) {
            // Past the end the loads of the next stage are repeated from this one, and go unused as the zeros do that fill the ring.
            const int32_t next = depth + 1 == depths_ ? now : now == last ? 0 : now + Tile::StageElements;
            one_stage<0>(sums, now, next, before, depth + stages_ - 1 < depths_);
            before = now;
            now = next;
        }
    }

  private:
    static constexpr int kPairs = Tile::ColumnTiles / 2;
    static constexpr int kPairsPerStage = Tile::Steps * kPairs;
    static constexpr int kCopiesPerPair = ceil_div(Load::kCopies, kPairsPerStage - 2);
    static_assert(kPairs >= 2 && kPairsPerStage % 2 == 0 && Tile::Steps % 2 == 0, "the two halves of the fragments alternate");

    // Stages are named by their first element in the ring.
    SDN_DEVICE void load_a(int32_t stage, int step, int row_tile, uint32_t (&fragment)[4]) const {
        load_matrices<false>(fragment, ring_ + (stage + a_ + row_tile * 16 * kDepth + (chunk_of_a_ ^ (2 * step)) * 8));
    }
    SDN_DEVICE void load_b(int32_t stage, int step, int pair, uint32_t (&fragment)[4]) const {
        load_matrices<false>(fragment, ring_ + (stage + b_ + pair * 16 * kDepth + (chunk_of_b_ ^ (2 * step)) * 8));
    }

    // Pair `I` of a stage and those after it; meanwhile the stage before is filled again, with zeros if nothing is left.
    template <int I>
    SDN_DEVICE void one_stage(Sums<Tile>& sums, int32_t now, int32_t next, int32_t before, bool fill) {
        if constexpr (I < kPairsPerStage) {
            constexpr int kStep = I / kPairs, kPair = I % kPairs;
            constexpr bool kLastStep = kStep == Tile::Steps - 1;
            copy_some<I * kCopiesPerPair, kCopiesPerPair>(loader_, ring_ + before, fill);
            if constexpr (I == kPairsPerStage - 2) {
                load_b(now, kStep, kPair + 1, fragments_b_[(I + 1) % 2]);
                loader_.advance();
                commit_async();
                wait_for_all_but(stages_ - 2);
                sync_block();
            } else if constexpr (kPair == kPairs - 1) {
                load_b(kLastStep ? next : now, kLastStep ? 0 : kStep + 1, 0, fragments_b_[(I + 1) % 2]);
            } else {
                load_b(now, kStep, kPair + 1, fragments_b_[(I + 1) % 2]);
            }
            if constexpr (kPair == kPairs - 2) {
                SDN_UNROLL
                for (int i = 0; i < Tile::RowTiles; ++i)
                    load_a(kLastStep ? next : now, kLastStep ? 0 : kStep + 1, i, fragments_a_[(kStep + 1) % 2][i]);
            }
            const uint32_t(&b)[4] = fragments_b_[I % 2];
            const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
            SDN_UNROLL
            for (int i = 0; i < Tile::RowTiles; ++i) {
                mma_m16n8k16<T>(sums[i][2 * kPair], fragments_a_[kStep % 2][i], left);
                mma_m16n8k16<T>(sums[i][2 * kPair + 1], fragments_a_[kStep % 2][i], right);
            }
            one_stage<I + 1>(sums, now, next, before, fill);
        }
    }

    Shared<T> ring_;
    Load& loader_;
    int32_t stages_, depths_;
    int a_, b_, chunk_of_a_, chunk_of_b_;
    uint32_t fragments_a_[2][Tile::RowTiles][4], fragments_b_[2][4];
};

// Adds the two slices: each keeps half of the row tiles, moved to the front. Deterministic: a sum of two.
template <class Tile>
SDN_DEVICE void add_slices(Sums<Tile>& sums, int slice) {
    constexpr int kHalf = Tile::RowTiles / 2, kFloats = kHalf * Tile::ColumnTiles * 4 * Tile::SliceThreads;
    const Shared<float> buffer = shared_array<float>(Tile::M * kPlaceBytes, 2 * kFloats);
    const int thread = thread_index() % Tile::SliceThreads;
    SDN_UNROLL
    for (int i = 0; i < kHalf; ++i) {
        SDN_UNROLL
        for (int j = 0; j < Tile::ColumnTiles; ++j) {
            Vec<float, 4> given;
            SDN_UNROLL
            for (int v = 0; v < 4; ++v) given[v] = slice == 0 ? sums[i + kHalf][j][v] : sums[i][j][v];
            buffer.template write<4>(slice * kFloats + ((i * Tile::ColumnTiles + j) * Tile::SliceThreads + thread) * 4, given);
        }
    }
    sync_block();
    SDN_UNROLL
    for (int i = 0; i < kHalf; ++i) {
        SDN_UNROLL
        for (int j = 0; j < Tile::ColumnTiles; ++j) {
            const int at = (1 - slice) * kFloats + ((i * Tile::ColumnTiles + j) * Tile::SliceThreads + thread) * 4;
            const Vec<float, 4> other = buffer.template read<4>(at);
            SDN_UNROLL
            for (int v = 0; v < 4; ++v) sums[i][j][v] = (slice == 0 ? sums[i][j][v] : sums[i + kHalf][j][v]) + other[v];
        }
    }
    sync_block();
}

// A warp's row tiles as float32 partial sums of one split.
template <class Tile, int RowTiles>
SDN_DEVICE void store_partials(const TensorProduct& t, const Sums<Tile>& sums, int32_t row, int32_t column) {
    const int64_t plane = (block_y() * t.p.phases + block_z()) * t.p.m;
    const int lane = lane_index();
    SDN_UNROLL
    for (int i = 0; i < RowTiles; ++i) {
        SDN_UNROLL
        for (int half_tile = 0; half_tile < 2; ++half_tile) {
            const int32_t m = row + 16 * i + 8 * half_tile + lane / 4;
            if (m >= t.p.m) continue;
            float* const target = t.partials + (plane + m) * t.partial_stride;
            SDN_UNROLL
            for (int j = 0; j < Tile::ColumnTiles; ++j) {
                const int32_t n = column + 8 * j + 2 * (lane % 4);
                if (n < t.partial_stride)
                    store_vec<2>(target + n, Vec<float, 2>{{sums[i][j][2 * half_tile], sums[i][j][2 * half_tile + 1]}});
            }
        }
    }
}

// A warp's row tiles, by way of its slab of shared memory, so that 16-byte chunks of rows reach the epilogue.
template <class T, class Tile, int RowTiles>
SDN_DEVICE void store_finished(const TensorProduct& t, const Sums<Tile>& sums, int32_t row, int32_t column) {
    constexpr int kChunks = Tile::WarpN / kChunk;
    const Shared<float> slab = shared_array<float>(Tile::M * kPlaceBytes + warp_index() * Tile::SlabBytes, Tile::SlabBytes / 4);
    const int lane = lane_index(), phase = static_cast<int>(block_z());
    SDN_UNROLL
    for (int i = 0; i < RowTiles; ++i) {
        SDN_UNROLL
        for (int j = 0; j < Tile::ColumnTiles; ++j) {
            const int at = (16 * i + lane / 4) * Tile::SlabStride + 8 * j + 2 * (lane % 4);
            slab.template write<2>(at, Vec<float, 2>{{sums[i][j][0], sums[i][j][1]}});
            slab.template write<2>(at + 8 * Tile::SlabStride, Vec<float, 2>{{sums[i][j][2], sums[i][j][3]}});
        }
    }
    sync_warp();
    SDN_NO_UNROLL
    for (int item = lane; item < 16 * RowTiles * kChunks; item += kWarpThreads) {
        const int line = item / kChunks, chunk = item % kChunks;
        const int32_t m = row + line, n = column + chunk * kChunk;
        if (m >= t.p.m || n >= t.p.n) continue;
        const int at = line * Tile::SlabStride + chunk * kChunk;
        const Vec<float, 4> low = slab.template read<4>(at), high = slab.template read<4>(at + 4);
        float values[kChunk] = {low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]};
        finish_chunk<T>(t.p.epilogue, m, phase, n, t.p.n, values);
    }
}

// Block (tile, split, phase).
template <class T, class Tile, template <class, class> class LoaderOf>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(Tile::Threads, Tile::BlocksPerMultiprocessor) sm80_gemm(const TensorProduct t) {
    const Shared<int32_t> places = shared_array<int32_t>(0, Tile::M * 4);
    const int phase = static_cast<int>(block_z());
    const TilePlace tile = tile_place<Tile>(t, block_x());
    for (int i = thread_index(); i < Tile::M; i += Tile::Threads)
        places.template write<4>(4 * i, row_place(t.p.source, t.p.m, tile.row + i, phase / 2, phase % 2));
    sync_block();

    const int32_t first_depth = static_cast<int32_t>(block_y()) * t.depths_per_split;
    const int32_t depths = min_of(t.depths_per_split, static_cast<int32_t>(ceil_div<int64_t>(t.p.k, kDepth)) - first_depth);
    Sums<Tile> sums = {};
    {
        const Shared<T> ring = shared_array<T>(Tile::M * kPlaceBytes, t.stages * Tile::StageElements);
        LoaderOf<T, Tile> loader(t, tile, places, phase, first_depth);
        Mainloop<T, Tile, LoaderOf<T, Tile>>(t, ring, loader, depths).run(sums);
    }
    wait_async<0>();
    sync_block();

    const int warp = warp_index() % (Tile::SliceThreads / kWarpThreads), slice = warp_index() / (Tile::SliceThreads / kWarpThreads);
    const int32_t column = tile.column + warp % Tile::WarpColumns * Tile::WarpN;
    int32_t row = tile.row + warp / Tile::WarpColumns * Tile::WarpM;
    if constexpr (Tile::Slices > 1) {
        add_slices<Tile>(sums, slice);
        row += slice * Tile::WarpM / 2;
    }
    if (t.partials != nullptr)
        store_partials<Tile, Tile::RowTiles / Tile::Slices>(t, sums, row, column);
    else
        store_finished<T, Tile, Tile::RowTiles / Tile::Slices>(t, sums, row, column);
}

}  // namespace sdn::cuda::SDN_TARGET
