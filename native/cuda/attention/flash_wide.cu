// Computes:  out = softmax(scale * q k^T) v per head; causal: query i sees keys 0..i
// Shapes:    q, out [B,Sq,H*D], k, v [B,Sk,H*D], any strides that keep rows on 16 bytes; D a multiple of 8 up to 512, float16 or bfloat16
// Algorithm: flash attention for a head too wide for the registers of a warp: 8 warps share 64 queries. For the scores a warp takes 16
// queries
//            and half of the dimensions (kept as fragments), and the halves meet in shared memory; four warps do the softmax of the next
//            tile while the other four multiply the last; for the sums a warp takes all queries and 64 dimensions. With too few blocks for
//            the device the keys are split, and flash_attention_combine adds the parts in order.
// Launch:    grid [ceil(Sq / 64) * splits, H, B], 256 threads, 86 KB of shared memory.
#include "cuda/attention/problem.h"
#include "cuda/attention/softmax.cuh"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarpThreads;
constexpr int kQueries = 64, kRowTiles = kQueries / 16;
constexpr int kKeys = 32, kKeyTiles = kKeys / 8;
constexpr int kDim = kWideFlashMostDim, kHalfDim = kDim / 2, kSteps = kHalfDim / 16;  // mma steps of half a dot product
constexpr int kColumns = kDim / kWarps, kColumnTiles = kColumns / 8;                  // of a warp's sums
// Rows in shared memory take an odd number of 16-byte chunks, so that eight rows' chunks lie in different banks.
constexpr int kRow = kDim + 8, kWeightRow = kKeys + 8;
constexpr int kMostSplits = 8, kFewestTiles = 4;  // tiles of keys that a split is worth

// Shared memory, in bytes.
constexpr int kValues = kKeys * kRow * 2;
constexpr int kHalfScores = 2 * kValues;
constexpr int kWeights = kHalfScores + kQueries * kKeys * 4;  // two buffers each of weights, factors and flags: one is made, one used
constexpr int kFactors = kWeights + 2 * kQueries * kWeightRow * 2;
constexpr int kFlags = kFactors + 2 * kQueries * 4;
constexpr int kStates =
    kFlags + ceil_div(2 * kRowTiles * 4, 16) * 16;  // of the threads that do the softmax: no register holds them meanwhile
constexpr int kSharedBytes = kStates + kThreads / 2 * 16;

// What a split leaves for a row: out = sum over its keys, to be weighed with the other splits'.
struct Parts {
    float* sums;   // [splits, heads of all batches, queries, dim]
    float* terms;  // [splits, heads of all batches, queries, 2]: maximum, total
    int splits;
};

template <class T>
struct Block {
    const FlashAttention<T>& a;
    Shared<T> keys, values;
    Shared<float> half_scores;
    Shared<T> weights;
    Shared<float> factors;
    Shared<int32_t> flags;
    Shared<float> states;
    int block_row;

    SDN_DEVICE explicit Block(const FlashAttention<T>& a_)
        : a(a_),
          keys(shared_array<T>(0, kKeys * kRow)),
          values(shared_array<T>(kValues, kKeys * kRow)),
          half_scores(shared_array<float>(kHalfScores, kQueries * kKeys)),
          weights(shared_array<T>(kWeights, 2 * kQueries * kWeightRow)),
          factors(shared_array<float>(kFactors, 2 * kQueries)),
          flags(shared_array<int32_t>(kFlags, 2 * kRowTiles)),
          states(shared_array<float>(kStates, kThreads / 2 * 4)),
          block_row(static_cast<int>(a_.causal ? grid_x() - 1 - block_x() : block_x() % ceil_div(a_.queries, kQueries)) * kQueries) {}

    // Values of a thread that are made where they are used: kept in registers across the loop there would be too many.
    SDN_DEVICE static int lane() { return opaque(lane_index()); }
    SDN_DEVICE int64_t batch() const { return opaque(static_cast<int>(block_z())); }
    SDN_DEVICE int64_t first_element() const { return int64_t{opaque(static_cast<int>(block_y()))} * a.dim; }

    SDN_DEVICE static int buffer_of(int first_key) { return opaque(first_key) / kKeys % 2; }
    // For the scores.
    SDN_DEVICE static int row_tile() { return opaque(warp_index()) % kRowTiles; }
    SDN_DEVICE static int dim_half() { return opaque(warp_index()) / kRowTiles; }

    // Begins to copy a tile of rows; rows past the last and dimensions past dim are zeros.
    SDN_DEVICE void copy_rows(Shared<T> target, const HeadRows<const T>& source, int first_key) const {
        constexpr int kChunks = kDim / 8, kRowsAtOnce = kThreads / kChunks;
        const int thread = opaque(thread_index()), d = thread % kChunks * 8;
        const T* from = source.head(batch(), first_element()) + (first_key + thread / kChunks) * source.row_stride + d;
        for (int row = thread / kChunks; row < kKeys; row += kRowsAtOnce, from += kRowsAtOnce * source.row_stride)
            copy_async<16>(target + (row * kRow + d), from, first_key + row < a.keys && d < a.dim);
        commit_async();
    }

    // This warp's half of the dot products of its 16 queries and a tile of keys. The second half goes to shared memory.
    SDN_DEVICE void score(float (&scores)[kKeyTiles][4], const uint32_t (&q)[kSteps][4]) const {
        const int lane_row = lane() % 8, lane_matrix = lane() / 8;
        SDN_UNROLL
        for (int n = 0; n < kKeyTiles; ++n) {
            SDN_UNROLL
            for (int i = 0; i < 4; ++i) scores[n][i] = 0;
        }
        const Shared<T> rows = keys + ((lane_matrix / 2 * 8 + lane_row) * kRow + dim_half() * kHalfDim + lane_matrix % 2 * 8);
        SDN_UNROLL
        for (int k = 0; k < kSteps; ++k) {
            SDN_UNROLL
            for (int n = 0; n < kKeyTiles; n += 2) {
                uint32_t b[4];
                load_matrices<false>(b, rows + (n * 8 * kRow + k * 16));
                SDN_UNROLL
                for (int i = 0; i < 2; ++i) {
                    const uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
                    mma_m16n8k16<T>(scores[n + i], q[k], pair);
                }
            }
        }
        if (dim_half() == 0) return;
        SDN_UNROLL
        for (int n = 0; n < kKeyTiles; ++n)
            half_scores.template write<4>(((row_tile() * kKeyTiles + n) * kWarpThreads + lane()) * 4,
                                          Vec<float, 4>{{scores[n][0], scores[n][1], scores[n][2], scores[n][3]}});
    }

    // This thread's rows between two calls of soften().
    SDN_DEVICE void load_state(RowState (&state)[2]) const {
        const Vec<float, 4> kept = states.template read<4>((row_tile() * kWarpThreads + lane()) * 4);
        state[0] = {kept[0], kept[1]};
        state[1] = {kept[2], kept[3]};
    }
    SDN_DEVICE void store_state(const RowState (&state)[2]) const {
        states.template write<4>((row_tile() * kWarpThreads + lane()) * 4,
                                 Vec<float, 4>{{state[0].maximum, state[0].total, state[1].maximum, state[1].total}});
    }

    // By the warps of the first half: its scores and the second half's become weights, and factors where the sums must be scaled.
    SDN_DEVICE void soften(float (&scores)[kKeyTiles][4], int first_key) const {
        RowState state[2];
        load_state(state);
        const int buffer = buffer_of(first_key);
        SDN_UNROLL
        for (int n = 0; n < kKeyTiles; ++n) {
            const Vec<float, 4> other = half_scores.template read<4>(((row_tile() * kKeyTiles + n) * kWarpThreads + lane()) * 4);
            SDN_UNROLL
            for (int i = 0; i < 4; ++i) scores[n][i] += other[i];
        }
        const int tile_row = row_tile() * 16 + lane() / 4, row = block_row + tile_row;
        if (first_key + kKeys > a.keys || (a.causal && first_key + kKeys > block_row + 1))
            hide_keys(scores, first_key, a.causal ? min_of(a.keys, row + 1) : a.keys, a.causal ? min_of(a.keys, row + 9) : a.keys);
        float highest[2];
        highest_scores(scores, highest);
        const bool rescales = ballot(state[0].outgrown(highest[0], a.slack) || state[1].outgrown(highest[1], a.slack)) != 0;
        if (rescales) {
            SDN_UNROLL
            for (int half_row = 0; half_row < 2; ++half_row) {
                const float factor = state[half_row].rescale(highest[half_row], a.slack, a.scale_log2);
                if (lane() % 4 == 0) factors[buffer * kQueries + tile_row + half_row * 8] = factor;
            }
        }
        if (lane() == 0) flags[buffer * kRowTiles + row_tile()] = rescales ? 1 : 0;
        exponentiate(scores, state, a.scale_log2);
        store_state(state);
        const Shared<T> to = weights + ((buffer * kQueries + tile_row) * kWeightRow + lane() % 4 * 2);
        SDN_UNROLL
        for (int n = 0; n < kKeyTiles; ++n) {
            to.template write<2>(n * 8, Vec<T, 2>{{from_float<T>(scores[n][0]), from_float<T>(scores[n][1])}});
            to.template write<2>(8 * kWeightRow + n * 8, Vec<T, 2>{{from_float<T>(scores[n][2]), from_float<T>(scores[n][3])}});
        }
    }

    // sums[m][n] += weights v, for all queries (m: 16 each) and this warp's dimensions (n: 8 each).
    SDN_DEVICE void weigh(float (&sums)[kRowTiles][kColumnTiles][4], int first_key) const {
        const int buffer = buffer_of(first_key);
        SDN_UNROLL
        for (int m = 0; m < kRowTiles; ++m) {
            if (flags[buffer * kRowTiles + m] == 0) continue;
            SDN_UNROLL
            for (int half_row = 0; half_row < 2; ++half_row) {
                const float factor = factors[buffer * kQueries + m * 16 + half_row * 8 + lane() / 4];
                SDN_UNROLL
                for (int n = 0; n < kColumnTiles; ++n) sums[m][n][2 * half_row] *= factor, sums[m][n][2 * half_row + 1] *= factor;
            }
        }
        const int lane_row = lane() % 16, lane_chunk = lane() / 16 * 8;
        const Shared<T> p_rows = weights + ((buffer * kQueries + lane_row) * kWeightRow + lane_chunk);
        const Shared<T> v_rows = values + (lane_row * kRow + opaque(warp_index()) * kColumns + lane_chunk);
        SDN_UNROLL
        for (int k = 0; k < kKeys; k += 16) {
            uint32_t p[kRowTiles][4];
            SDN_UNROLL
            for (int m = 0; m < kRowTiles; ++m) load_matrices<false>(p[m], p_rows + (m * 16 * kWeightRow + k));
            SDN_UNROLL
            for (int n = 0; n < kColumnTiles; n += 2) {
                uint32_t b[4];
                load_matrices<true>(b, v_rows + (k * kRow + n * 8));
                SDN_UNROLL
                for (int i = 0; i < 2; ++i) {
                    const uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
                    SDN_UNROLL
                    for (int m = 0; m < kRowTiles; ++m) mma_m16n8k16<T>(sums[m][n + i], p[m], pair);
                }
            }
        }
    }

    // Writes this warp's dimensions. factors holds what each row is divided by.
    SDN_DEVICE void store(const float (&sums)[kRowTiles][kColumnTiles][4], const Parts& parts) const {
        SDN_UNROLL
        for (int m = 0; m < kRowTiles; ++m) {
            SDN_UNROLL
            for (int half_row = 0; half_row < 2; ++half_row) {
                const int tile_row = m * 16 + half_row * 8 + lane() / 4, row = block_row + tile_row;
                if (row >= a.queries) continue;
                const float inverse = factors[tile_row];
                SDN_UNROLL
                for (int n = 0; n < kColumnTiles; ++n) {
                    const int d = opaque(warp_index()) * kColumns + n * 8 + lane() % 4 * 2;
                    if (d >= a.dim) continue;
                    const float left = sums[m][n][2 * half_row] * inverse, right = sums[m][n][2 * half_row + 1] * inverse;
                    if (parts.splits > 1)
                        store_vec(parts.sums + (part_row(row) * a.dim + d), Vec<float, 2>{{left, right}});
                    else
                        store_vec(a.out.head(batch(), first_element()) + row * a.out.row_stride + d,
                                  Vec<T, 2>{{from_float<T>(left), from_float<T>(right)}});
                }
            }
        }
    }

    SDN_DEVICE int64_t part_row(int row) const {
        return ((block_x() / ceil_div(a.queries, kQueries) * a.batches + block_z()) * a.heads + block_y()) * a.queries + row;
    }
};

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1) flash_attention_wide(FlashAttention<T> a, Parts parts) {
    const Block<T> block(a);
    const bool softens = Block<T>::dim_half() == 0;
    const int seen = a.causal ? min_of(a.keys, block.block_row + kQueries) : a.keys;
    const int64_t tiles = ceil_div(seen, kKeys), split = block_x() / ceil_div(a.queries, kQueries);
    const int first = static_cast<int>(tiles * split / parts.splits) * kKeys;
    const int end = static_cast<int>(tiles * (split + 1) / parts.splits) * kKeys;

    block.copy_rows(block.keys, a.k, first);
    uint32_t q[kSteps][4];
    a.load_queries(q, a.q.head(block.batch(), block.first_element()), block.block_row + block.row_tile() * 16 + block.lane() / 4,
                   block.dim_half() * kHalfDim);
    float sums[kRowTiles][kColumnTiles][4] = {}, scores[kKeyTiles][4];
    if (softens) block.store_state({RowState{}, RowState{}});
    wait_async<0>();
    sync_block();
    block.score(scores, q);
    sync_block();
    if (first + kKeys < end) block.copy_rows(block.keys, a.k, first + kKeys);
    wait_async<0>();
    block.copy_rows(block.values, a.v, first);
    if (softens) block.soften(scores, first);
    sync_block();

    // Here the next tile's keys have come, this tile's values are under way and its weights are made.
    SDN_NO_UNROLL
    for (int key = first; key < end; key += kKeys) {
        const bool more = key + kKeys < end;
        if (more) block.score(scores, q);
        wait_async<0>();
        sync_block();  // half scores and values are there, the keys have been used
        if (key + 2 * kKeys < end) block.copy_rows(block.keys, a.k, key + 2 * kKeys);
        if (more && softens) block.soften(scores, key + kKeys);
        block.weigh(sums, key);
        wait_async<0>();
        sync_block();  // weights and keys are there, the values have been used
        if (more) block.copy_rows(block.values, a.v, key + kKeys);
    }

    if (softens) {
        RowState state[2];
        block.load_state(state);
        SDN_UNROLL
        for (int half_row = 0; half_row < 2; ++half_row) {
            const float total = row_sum(state[half_row].total);
            const int tile_row = Block<T>::row_tile() * 16 + half_row * 8 + block.lane() / 4, row = block.block_row + tile_row;
            if (block.lane() % 4 != 0) continue;
            block.factors[tile_row] = parts.splits > 1 ? 1.0f : 1.0f / total;
            if (parts.splits > 1 && row < a.queries)
                store_vec(parts.terms + 2 * block.part_row(row), Vec<float, 2>{{state[half_row].maximum, total}});
        }
    }
    sync_block();
    block.store(sums, parts);
}

// A warp per query and head: out = sum over splits of 2^(maximum - highest) sums / the same of the totals.
template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1) flash_attention_combine(FlashAttention<T> a, Parts parts) {
    const int64_t heads = a.batches * a.heads, rows = heads * a.queries;
    const int64_t row = block_x() * kWarps + warp_index();
    if (row >= rows) return;
    float highest = -INFINITY, total = 0, factors[kMostSplits];
    for (int s = 0; s < parts.splits; ++s) highest = fmaxf(highest, parts.terms[2 * (s * rows + row)]);
    SDN_UNROLL
    for (int s = 0; s < kMostSplits; ++s) {
        if (s >= parts.splits) break;
        const Vec<float, 2> term = load_vec<2>(parts.terms + 2 * (s * rows + row));
        factors[s] = exp2_approx((term[0] - highest) * a.scale_log2);
        total = fmaf(term[1], factors[s], total);
    }
    const int64_t head = row / a.queries;
    T* const out = a.out.head(head / a.heads, head % a.heads * a.dim) + row % a.queries * a.out.row_stride;
    for (int d = lane_index() * 4; d < a.dim; d += kWarpThreads * 4) {
        Vec<float, 4> sum{};
        SDN_UNROLL
        for (int s = 0; s < kMostSplits; ++s) {
            if (s >= parts.splits) break;
            const Vec<float, 4> part = load_vec<4>(parts.sums + (s * rows + row) * a.dim + d);
            SDN_UNROLL
            for (int i = 0; i < 4; ++i) sum[i] = fmaf(part[i], factors[s], sum[i]);
        }
        Vec<T, 4> result;
        SDN_UNROLL
        for (int i = 0; i < 4; ++i) result[i] = from_float<T>(sum[i] / total);
        store_vec(out + d, result);
    }
}

// As many parts of the keys as leave no multiprocessor idle.
template <class T>
int splits_of(const Limits& limits, const Attention<T>& a) {
    if (a.causal) return 1;
    const int64_t blocks = a.batches * a.heads * ceil_div(a.queries, kQueries);
    const int64_t most = min_of<int64_t>(kMostSplits, ceil_div(a.keys, kKeys) / kFewestTiles);
    return static_cast<int>(max_of<int64_t>(1, min_of<int64_t>(most, limits.multiprocessors / blocks)));
}

}  // namespace

template <class T>
int64_t wide_flash_scratch(const Limits& limits, const Attention<T>& a) {
    const int splits = splits_of(limits, a);
    return splits == 1 ? 0 : splits * a.batches * a.heads * a.queries * (a.dim + 2) * static_cast<int64_t>(sizeof(float));
}

template <class T>
void launch_wide_flash(Queue& queue, const Attention<T>& a, void* scratch) {
    const int64_t rows = a.batches * a.heads * a.queries;
    Parts parts{};
    parts.splits = splits_of(queue.limits, a);
    parts.sums = static_cast<float*>(scratch);
    parts.terms = parts.sums + parts.splits * rows * a.dim;
    launch(queue, "sm80_flash_attention_d512_q64_k32", flash_attention_wide<T>,
           Grid{int64_t{ceil_div(a.queries, kQueries)} * parts.splits, a.heads, a.batches}, kThreads, kSharedBytes, FlashAttention<T>(a),
           parts);
    if (parts.splits > 1)
        launch(queue, "flash_attention_combine", flash_attention_combine<T>, Grid{ceil_div(rows, int64_t{kWarps})}, kThreads, 0,
               FlashAttention<T>(a), parts);
}

template int64_t wide_flash_scratch(const Limits& limits, const Attention<half>& a);
template int64_t wide_flash_scratch(const Limits& limits, const Attention<bfloat16>& a);
template void launch_wide_flash(Queue& queue, const Attention<half>& a, void* scratch);
template void launch_wide_flash(Queue& queue, const Attention<bfloat16>& a, void* scratch);

}  // namespace sdn::cuda::SDN_TARGET
