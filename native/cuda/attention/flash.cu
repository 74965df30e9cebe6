// Computes:  out = softmax(scale * q k^T) v per head; causal: query i sees keys 0..i
// Shapes:    q, out [B,Sq,H*D], k, v [B,Sk,H*D], any strides that keep rows on 16 bytes; D a multiple of 8 up to 160, float16 or bfloat16
// Algorithm: flash attention: a warp keeps its queries and their weighted sums as mma fragments; tiles of keys and values stream through
// two
//            stages of shared memory (cp.async); scores, online softmax in float32 and weights stay in registers. The sums are scaled only
//            when a maximum has grown by more than 2^8. Dimensions up to the tile's width are zeros.
// Launch:    grid [ceil(Sq / queries of a block), H, B], 1 to 8 warps, 20 to 44 KB of shared memory.
#include "cuda/attention/problem.h"
#include "cuda/attention/softmax.cuh"

namespace sdn::cuda::SDN_TARGET {

namespace {

// How a head dim is cut. Two row tiles per warp halve what is read from shared memory per product, which is the limit where the sums are
// few enough to leave the registers for it; blocks is what the registers are to allow on a multiprocessor.
template <int kDim>
struct Tile;
template <>
struct Tile<40> {
    static constexpr int kRowTiles = 2, kKeys = 64, kStep = 32, kWarps = 4, kBlocks = 4;
    static constexpr const char* kName[] = {"sm80_flash_attention_d40_q32_k64", "sm80_flash_attention_d40_q64_k64",
                                            "sm80_flash_attention_d40_q128_k64"};
};
template <>
struct Tile<64> {
    static constexpr int kRowTiles = 2, kKeys = 64, kStep = 32, kWarps = 4, kBlocks = 3;
    static constexpr const char* kName[] = {"sm80_flash_attention_d64_q32_k64", "sm80_flash_attention_d64_q64_k64",
                                            "sm80_flash_attention_d64_q128_k64"};
};
template <>
struct Tile<80> {
    static constexpr int kRowTiles = 1, kKeys = 64, kStep = 32, kWarps = 8, kBlocks = 2;
    static constexpr const char* kName[] = {"sm80_flash_attention_d80_q16_k64", "sm80_flash_attention_d80_q32_k64",
                                            "sm80_flash_attention_d80_q64_k64", "sm80_flash_attention_d80_q128_k64"};
};
template <>
struct Tile<160> {
    static constexpr int kRowTiles = 1, kKeys = 32, kStep = 32, kWarps = 4, kBlocks = 2;
    static constexpr const char* kName[] = {"sm80_flash_attention_d160_q16_k32", "sm80_flash_attention_d160_q32_k32",
                                            "sm80_flash_attention_d160_q64_k32"};
};

constexpr int kStages = 2;

// A tile of rows in shared memory. A row takes an odd number of 16-byte chunks, so that eight rows' chunks lie in different banks.
template <int kDim>
constexpr int kRowElements = (kDim / 8 | 1) * 8;

template <class T, int kDim>
constexpr int flash_shared_bytes() {
    return kStages * 2 * Tile<kDim>::kKeys * kRowElements<kDim> * static_cast<int>(sizeof(T));
}

// Begins to copy kKeys rows of a head's keys and values from `key` on, into a stage; rows past the last and dimensions past dim are zeros.
template <class T, int kDim>
SDN_DEVICE void copy_keys(Shared<T> stage, const FlashAttention<T>& a, int64_t batch, int64_t first_element, int first_key) {
    constexpr int kChunks = kDim / 8, kKeys = Tile<kDim>::kKeys, kRow = kRowElements<kDim>;
    // A thread has one chunk of every rows_at_once-th row; a few threads are left over.
    const int thread = opaque(thread_index()), rows_at_once = block_threads() / kChunks, d = thread % kChunks * 8;
    int row = thread / kChunks;
    if (row < rows_at_once) {
        const T* k = a.k.head(batch, first_element) + (first_key + row) * a.k.row_stride + d;
        const T* v = a.v.head(batch, first_element) + (first_key + row) * a.v.row_stride + d;
        SDN_NO_UNROLL
        for (; row < kKeys; row += rows_at_once) {
            const bool valid = first_key + row < a.keys && d < a.dim;
            copy_async<16>(stage + (row * kRow + d), k, valid);
            copy_async<16>(stage + (kKeys * kRow + row * kRow + d), v, valid);
            k += rows_at_once * a.k.row_stride;
            v += rows_at_once * a.v.row_stride;
        }
    }
    commit_async();
}

// scores[m][n] = q k^T for 32 keys (n: 8 each) of all row tiles m.
template <class T, int kDim, int kRowTiles, int kTiles>
SDN_DEVICE void score_32_keys(float (&scores)[kRowTiles][kTiles][4], int first_tile, const uint32_t (&q)[kRowTiles][(kDim + 15) / 16][4],
                              Shared<T> k_rows) {
    constexpr int kChunks = kDim / 8, kQuads = kChunks / 4, kRest = kChunks % 4, kRow = kRowElements<kDim>;
    static_assert(kRest < 3, "the last chunks of four tiles of keys are loaded together");
    const int lane_row = lane_index() % 8, lane_matrix = lane_index() / 8;
    uint32_t b[4];
    SDN_UNROLL
    for (int n = 0; n < 4; ++n) {
        SDN_UNROLL
        for (int quad = 0; quad < kQuads; ++quad) {
            load_matrices<false>(b, k_rows + ((n * 8 + lane_row) * kRow + (quad * 4 + lane_matrix) * 8));
            SDN_UNROLL
            for (int half_quad = 0; half_quad < 2; ++half_quad) {
                const uint32_t pair[2] = {b[2 * half_quad], b[2 * half_quad + 1]};
                SDN_UNROLL
                for (int m = 0; m < kRowTiles; ++m) mma_m16n8k16<T>(scores[m][first_tile + n], q[m][quad * 2 + half_quad], pair);
            }
        }
    }
    if constexpr (kRest == 2) {
        SDN_UNROLL
        for (int n = 0; n < 4; n += 2) {
            load_matrices<false>(b, k_rows + (((n + lane_matrix / 2) * 8 + lane_row) * kRow + (kQuads * 4 + lane_matrix % 2) * 8));
            SDN_UNROLL
            for (int i = 0; i < 2; ++i) {
                const uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
                SDN_UNROLL
                for (int m = 0; m < kRowTiles; ++m) mma_m16n8k16<T>(scores[m][first_tile + n + i], q[m][kQuads * 2], pair);
            }
        }
    } else if constexpr (kRest == 1) {
        load_matrices<false>(b, k_rows + ((lane_matrix * 8 + lane_row) * kRow + kQuads * 32));
        SDN_UNROLL
        for (int n = 0; n < 4; ++n) {
            SDN_UNROLL
            for (int m = 0; m < kRowTiles; ++m) {
                const uint32_t half_q[2] = {q[m][kQuads * 2][0], q[m][kQuads * 2][1]};
                mma_m16n8k8<T>(scores[m][first_tile + n], half_q, b[n]);
            }
        }
    }
}

// sums[m][d] += weights v for 32 keys.
template <class T, int kDim, int kRowTiles, int kTiles>
SDN_DEVICE void weigh_32_keys(float (&sums)[kRowTiles][kDim / 8][4], const float (&weights)[kRowTiles][kTiles][4], int first_tile,
                              Shared<T> v_rows) {
    constexpr int kChunks = kDim / 8, kRow = kRowElements<kDim>;
    const int lane = opaque(lane_index()), lane_row = lane % 8, lane_matrix = lane / 8;
    uint32_t p[kRowTiles][2][4], b[4];
    SDN_UNROLL
    for (int m = 0; m < kRowTiles; ++m) {
        SDN_UNROLL
        for (int k = 0; k < 2; ++k) weights_operand<T>(p[m][k], weights[m][first_tile + 2 * k], weights[m][first_tile + 2 * k + 1]);
    }
    SDN_UNROLL
    for (int k = 0; k < 2; ++k) {
        SDN_UNROLL
        for (int d = 0; d + 1 < kChunks; d += 2) {
            load_matrices<true>(b, v_rows + ((k * 16 + lane_matrix % 2 * 8 + lane_row) * kRow + (d + lane_matrix / 2) * 8));
            SDN_UNROLL
            for (int i = 0; i < 2; ++i) {
                const uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
                SDN_UNROLL
                for (int m = 0; m < kRowTiles; ++m) mma_m16n8k16<T>(sums[m][d + i], p[m][k], pair);
            }
        }
    }
    if constexpr (kChunks % 2 != 0) {
        load_matrices<true>(b, v_rows + ((lane_matrix * 8 + lane_row) * kRow + (kChunks - 1) * 8));
        SDN_UNROLL
        for (int k = 0; k < 2; ++k) {
            const uint32_t pair[2] = {b[2 * k], b[2 * k + 1]};
            SDN_UNROLL
            for (int m = 0; m < kRowTiles; ++m) mma_m16n8k16<T>(sums[m][kChunks - 1], p[m][k], pair);
        }
    }
}

template <class T, int kDim>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(Tile<kDim>::kWarps* kWarpThreads, Tile<kDim>::kBlocks) flash_attention(FlashAttention<T> a) {
    using C = Tile<kDim>;
    constexpr int kM = C::kRowTiles, kRow = kRowElements<kDim>, kStageElements = 2 * C::kKeys * kRow;
    const Shared<T> stages = shared_array<T>(0, kStages * kStageElements);

    // The last queries of a causal head first, since they take longest.
    const int block = static_cast<int>(a.causal ? grid_x() - 1 - block_x() : block_x());
    const int block_rows = block_threads() / kWarpThreads * kM * 16, block_row = block * block_rows;
    const auto first_row = [&] { return block_row + opaque(warp_index()) * kM * 16; };  // of this warp
    const int64_t first = block_y() * a.dim, batch = block_z();
    const int seen_by_block = a.causal ? min_of(a.keys, block_row + block_rows) : a.keys;

    copy_keys<T, kDim>(stages, a, batch, first, 0);
    uint32_t q[kM][(kDim + 15) / 16][4];
    SDN_UNROLL
    for (int m = 0; m < kM; ++m) a.load_queries(q[m], a.q.head(batch, first), first_row() + m * 16 + lane_index() / 4, 0);

    float sums[kM][kDim / 8][4] = {};
    RowState rows[kM][2];
    SDN_NO_UNROLL
    for (int first_key = 0; first_key < seen_by_block; first_key += C::kStep) {
        if (first_key % C::kKeys == 0) {
            wait_async<0>();
            sync_block();  // and everybody is done with the other stage
            const int next = first_key + C::kKeys;
            if (next < seen_by_block) copy_keys<T, kDim>(stages + next / C::kKeys % kStages * kStageElements, a, batch, first, next);
        }
        // A warp that sees none of these keys, or has no query, only copies.
        const int row_of_warp = first_row();
        if (row_of_warp >= a.queries || (a.causal && first_key >= row_of_warp + kM * 16)) continue;
        const Shared<T> k_rows = stages + (first_key / C::kKeys % kStages * kStageElements + first_key % C::kKeys * kRow);
        const Shared<T> v_rows = k_rows + C::kKeys * kRow;
        float scores[kM][C::kStep / 8][4] = {};
        SDN_UNROLL
        for (int i = 0; i < C::kStep; i += 32) score_32_keys<T, kDim>(scores, i / 8, q, k_rows + i * kRow);

        const bool hides = first_key + C::kStep > a.keys || (a.causal && first_key + C::kStep > block_row + 1);
        float highest[kM][2];
        bool outgrown = false;
        SDN_UNROLL
        for (int m = 0; m < kM; ++m) {
            if (hides) {
                const int row = first_row() + m * 16 + opaque(lane_index()) / 4;
                hide_keys(scores[m], first_key, a.causal ? min_of(a.keys, row + 1) : a.keys, a.causal ? min_of(a.keys, row + 9) : a.keys);
            }
            highest_scores(scores[m], highest[m]);
            outgrown = outgrown || rows[m][0].outgrown(highest[m][0], a.slack) || rows[m][1].outgrown(highest[m][1], a.slack);
        }
        if (ballot(outgrown) != 0) {
            SDN_UNROLL
            for (int m = 0; m < kM; ++m) {
                SDN_UNROLL
                for (int half_row = 0; half_row < 2; ++half_row) {
                    const float factor = rows[m][half_row].rescale(highest[m][half_row], a.slack, a.scale_log2);
                    SDN_UNROLL
                    for (int d = 0; d < kDim / 8; ++d) sums[m][d][2 * half_row] *= factor, sums[m][d][2 * half_row + 1] *= factor;
                }
            }
        }
        SDN_UNROLL
        for (int m = 0; m < kM; ++m) exponentiate(scores[m], rows[m], a.scale_log2);
        SDN_UNROLL
        for (int i = 0; i < C::kStep; i += 32) weigh_32_keys<T, kDim>(sums, scores, i / 8, v_rows + i * kRow);
    }

    T* const out = a.out.head(batch, first);
    const int lane = opaque(lane_index());
    SDN_UNROLL
    for (int m = 0; m < kM; ++m) {
        SDN_UNROLL
        for (int half_row = 0; half_row < 2; ++half_row) {
            const float inverse = 1.0f / row_sum(rows[m][half_row].total);
            const int row = first_row() + m * 16 + half_row * 8 + lane / 4;
            SDN_UNROLL
            for (int d = 0; d < kDim / 8; ++d) {
                const int column = d * 8 + lane % 4 * 2;
                if (row >= a.queries || column >= a.dim) continue;
                const float* const sum = sums[m][d] + 2 * half_row;
                store_vec(out + row * a.out.row_stride + column,
                          Vec<T, 2>{{from_float<T>(sum[0] * inverse), from_float<T>(sum[1] * inverse)}});
            }
        }
    }
}

template <class T, int kDim>
void launch_tile(Queue& queue, const Attention<T>& a) {
    using C = Tile<kDim>;
    constexpr int kNames = sizeof C::kName / sizeof C::kName[0];
    static_assert(C::kWarps == 1 << (kNames - 1), "a name per number of warps");
    // The largest block that leaves no multiprocessor idle: it reads keys and values least often.
    int warps = C::kWarps, name = kNames - 1;
    const auto blocks = [&] { return ceil_div(a.queries, warps * C::kRowTiles * 16); };
    while (warps > 1 && blocks() * a.heads * a.batches < queue.limits.multiprocessors) warps /= 2, --name;
    launch(queue, C::kName[name], flash_attention<T, kDim>, Grid{blocks(), a.heads, a.batches}, warps * kWarpThreads,
           flash_shared_bytes<T, kDim>(), FlashAttention<T>(a));
}

}  // namespace

template <class T>
void launch_flash(Queue& queue, const Attention<T>& a) {
    if (a.dim <= 40) return launch_tile<T, 40>(queue, a);
    if (a.dim <= 64) return launch_tile<T, 64>(queue, a);
    if (a.dim <= 80) return launch_tile<T, 80>(queue, a);
    launch_tile<T, 160>(queue, a);
}

template void launch_flash(Queue& queue, const Attention<half>& a);
template void launch_flash(Queue& queue, const Attention<bfloat16>& a);

}  // namespace sdn::cuda::SDN_TARGET
