// Computes:  out = softmax(scale * q k^T) v per head; causal: query i sees keys 0..i
// Shapes:    q, out [B,Sq,H*D], k, v [B,Sk,H*D], any batch and row strides
// Algorithm: attention_online_softmax. K and V are packed once into the microkernel's panels. A block of queries then meets one block of
//            keys after another: scores = q k^T; maximum, exponentials and sum per row; sums of v weighted so far, scaled as the maximum
//            grows. float32 throughout; a row's result does not depend on how the queries are cut into blocks.
// Launch:    one parallel index per (batch, head, block of keys) to pack, then per (batch, head, block of queries).
#include <cmath>

#include "cpu/gemm/loaders.inl.h"
#include "cpu/gemm/microkernel.inl.h"
#include "cpu/ops.inl.h"
#include "cpu/simd/math.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kQueryRows = 8 * kMicroRows;  // of a block: its scores stay in the level-2 cache
constexpr float kLog2E = 1.44269504f;
constexpr float kMinusInfinity = -INFINITY;

SDN_INLINE int64_t round_up(int64_t n, int64_t unit) {
    return ceil_div(n, unit) * unit;
}

// The head's slice of a [B,S,H*D] tensor.
const float* head_rows(const sdn_tensor& t, int64_t batch, int64_t head, int64_t dim) {
    return static_cast<const float*>(t.data) + batch * t.stride[0] + head * dim;
}

struct Attention {
    const sdn_tensor &out, &q, &k, &v;
    bool causal;
    float scale;  // of q; times log2(e), so that 2^x serves as exponential
    int64_t batches, heads, dim, queries, keys;
    int64_t key_block, key_blocks, query_blocks;
    DepthBlocks dim_blocks;
    int64_t out_stride;  // floats per row of the weighted sums
    float *packed_k, *packed_v, *thread_memory;
    int64_t thread_floats;

    Attention(const sdn_tensor& out_, const sdn_tensor& q_, const sdn_tensor& k_, const sdn_tensor& v_, const sdn_attention_params& params)
        : out(out_), q(q_), k(k_), v(v_), causal(params.causal != 0), scale(params.scale * kLog2E) {
        batches = q.shape[0], heads = params.heads, dim = q.shape[2] / heads, queries = q.shape[1], keys = k.shape[1];
        key_block = round_up(ceil_div(keys, ceil_div(keys, kMaxDepth)), kPanelColumns);
        key_blocks = ceil_div(keys, key_block);
        query_blocks = ceil_div(queries, kQueryRows);
        dim_blocks = depth_blocks(dim);
        out_stride = round_up(dim, kPanelColumns);
        thread_floats = (dim_blocks.count + 1) * kQueryRows * kRowStride + kQueryRows * out_stride + round_up(2 * kQueryRows, 16);
    }

    // Per head: K^T as panels [dim, kPanelColumns] of kPanelColumns keys, V as panels [keys, kPanelColumns] of kPanelColumns of its
    // columns.
    int64_t packed_k_floats() const { return round_up(keys, kPanelColumns) * dim; }
    int64_t packed_v_floats() const { return keys * out_stride; }

    void pack(int64_t index) const {
        const int64_t first = index % key_blocks * key_block, last = min_of(keys, first + key_block);
        const int64_t head = index / key_blocks;  // of all batches
        const float* const k_rows = head_rows(k, head / heads, head % heads, dim);
        const float* const v_rows = head_rows(v, head / heads, head % heads, dim);
        float* const k_panels = packed_k + head * packed_k_floats();
        float* const v_panels = packed_v + head * packed_v_floats();
        for (int64_t i = first; i < round_up(last, kPanelColumns); ++i) {
            float* const column = k_panels + i / kPanelColumns * kPanelColumns * dim + i % kPanelColumns;
            for (int64_t d = 0; d < dim; ++d) column[d * kPanelColumns] = i < last ? k_rows[i * k.stride[1] + d] : 0.0f;
        }
        for (int64_t i = first; i < last; ++i) {
            for (int64_t d = 0; d < dim; d += kPanelColumns) {
                float* const row = v_panels + (d * keys) + i * kPanelColumns;
                const int64_t n = min_of(kPanelColumns, dim - d);
                copy_floats(row, v_rows + i * v.stride[1] + d, n);
                clear_floats(row + n, kPanelColumns - n);
            }
        }
    }

    // A thread's scratch for one block of queries.
    struct Block {
        float *q, *scores, *sums, *maximum, *total;
        int64_t first, count;
    };

    void attend(int64_t index, int thread) const {
        const int64_t head = index / query_blocks;
        Block b;
        b.q = thread_memory + thread * thread_floats;
        b.scores = b.q + dim_blocks.count * kQueryRows * kRowStride;
        b.sums = b.scores + kQueryRows * kRowStride;
        b.maximum = b.sums + kQueryRows * out_stride;
        b.total = b.maximum + kQueryRows;
        // Equal blocks; the last of a causal head first, since it takes longest.
        const int64_t i = causal ? query_blocks - 1 - index % query_blocks : index % query_blocks;
        b.first = queries * i / query_blocks;
        b.count = queries * (i + 1) / query_blocks - b.first;

        clear_floats(b.sums, b.count * out_stride);
        for (int64_t r = 0; r < b.count; ++r) b.maximum[r] = kMinusInfinity, b.total[r] = 0.0f;
        load_queries(b, head_rows(q, head / heads, head % heads, dim));
        const int64_t seen = causal ? b.first + b.count : keys;
        for (int64_t key = 0; key < seen; key += key_block) {
            const int64_t count = min_of(key_block, seen - key);
            score(b, packed_k + head * packed_k_floats() + key * dim, count);
            for (int64_t r = 0; r < b.count; ++r) {
                const int64_t visible = causal ? min_of(count, b.first + r + 1 - key) : count;
                exponentiate(b, r, max_of(0, visible), count);
            }
            weigh(b, packed_v + head * packed_v_floats() + key * kPanelColumns, count);
        }
        store_rows(b, static_cast<float*>(out.data) + head / heads * out.stride[0] + head % heads * dim);
    }

  private:
    void load_queries(const Block& b, const float* rows) const {
        for (int64_t j = 0; j < dim_blocks.count; ++j) {
            const int64_t start = j * dim_blocks.depth, n = min_of(dim_blocks.depth, dim - start);
            for (int64_t r = 0; r < b.count; ++r) {
                float* const target = b.q + (j * kQueryRows + r) * kRowStride;
                const float* const source = rows + (b.first + r) * q.stride[1] + start;
                for (int64_t d = 0; d < n; ++d) target[d] = source[d] * scale;
            }
        }
    }

    // scores = q k^T for `count` keys.
    void score(const Block& b, const float* k_panels, int64_t count) const {
        for (int64_t i = 0; i < count; i += kPanelColumns) {
            for (int64_t j = 0; j < dim_blocks.count; ++j) {
                const int64_t start = j * dim_blocks.depth, n = min_of(dim_blocks.depth, dim - start);
                const float* const panel = k_panels + i * dim + start * kPanelColumns;
                for (int64_t r = 0; r < b.count; r += kMicroRows) {
                    multiply_tile(min_of(kMicroRows, b.count - r), count - i, b.q + (j * kQueryRows + r) * kRowStride, panel, n,
                                  b.scores + r * kRowStride + i, kRowStride, j > 0, panel + dim * kPanelColumns);
                }
            }
        }
    }

    // Row r: scores become 2^(score - maximum), 0 for the keys in [visible, count); sums and total so far follow the new maximum.
    void exponentiate(const Block& b, int64_t r, int64_t visible, int64_t count) const {
        float* const row = b.scores + r * kRowStride;
        const int64_t end = round_up(visible, kLanes);
        for (int64_t i = visible; i < end; ++i) row[i] = kMinusInfinity;
        const float before = b.maximum[r];
        vec highest = broadcast(before);
        for (int64_t i = 0; i < end; i += kLanes) highest = maximum(highest, load(row + i));
        const float now = maximum(highest);
        const vec shift = broadcast(now);
        vec total = zero();
        for (int64_t i = 0; i < end; i += kLanes) {
            const vec e = exp2(load(row + i) - shift);
            store(row + i, e);
            total += e;
        }
        for (int64_t i = end; i < count; ++i) row[i] = 0.0f;
        const vec decay = exp2(broadcast(before) - shift);  // 0 in the first block
        b.maximum[r] = now;
        b.total[r] = maximum(broadcast(b.total[r]) * decay) + sum(total);
        if (now == before) return;
        for (int64_t d = 0; d < out_stride; d += kLanes) store(b.sums + r * out_stride + d, load(b.sums + r * out_stride + d) * decay);
    }

    // sums += scores v for `count` keys.
    void weigh(const Block& b, const float* v_panels, int64_t count) const {
        for (int64_t d = 0; d < dim; d += kPanelColumns) {
            const float* const panel = v_panels + d * keys;
            for (int64_t r = 0; r < b.count; r += kMicroRows) {
                multiply_tile(min_of(kMicroRows, b.count - r), dim - d, b.scores + r * kRowStride, panel, count,
                              b.sums + r * out_stride + d, out_stride, true, panel + count * kPanelColumns);
            }
        }
    }

    void store_rows(const Block& b, float* rows) const {
        for (int64_t r = 0; r < b.count; ++r) {
            const float* const source = b.sums + r * out_stride;
            float* const target = rows + (b.first + r) * out.stride[1];
            const vec factor = broadcast(1.0f / b.total[r]);
            int64_t d = 0;
            for (; d + kLanes <= dim; d += kLanes) store(target + d, load(source + d) * factor);
            if (d < dim) store_partial(target + d, load(source + d) * factor, dim - d);
        }
    }
};

}  // namespace

void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
               const sdn_attention_params& params) {
    Attention a(out, q, k, v, params);
    const int64_t all_heads = a.batches * a.heads;
    const int64_t k_floats = round_up(all_heads * a.packed_k_floats(), 16);
    const int64_t v_floats = round_up(all_heads * a.packed_v_floats(), 16);
    a.thread_floats = round_up(a.thread_floats, 16);
    float* const memory = static_cast<float*>(exec_scratch(exec, (k_floats + v_floats + exec_threads(exec) * a.thread_floats) * 4));
    if (!exec_measuring(exec)) {
        a.packed_k = memory;
        a.packed_v = memory + k_floats;
        a.thread_memory = a.packed_v + v_floats;
        exec_parallel_for(
            exec, all_heads * a.key_blocks, [](void* context, int64_t i, int) { static_cast<const Attention*>(context)->pack(i); }, &a);
        exec_parallel_for(
            exec, all_heads * a.query_blocks,
            [](void* context, int64_t i, int thread) { static_cast<const Attention*>(context)->attend(i, thread); }, &a);
    }
    exec_release(exec, memory);
}

}  // namespace sdn::cpu::SDN_ISA
