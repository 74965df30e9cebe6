// Computes:  out = softmax(scale * q k^T) v per head; causal: query i sees keys 0..i
// Shapes:    q, out [B,Sq,H*D], k, v [B,Sk,H*D], any batch and row strides
// Algorithm: attention_online_softmax. K and V are packed once into the microkernel's panels. A block of queries then meets one block of
//            keys after another, as many queries at a time as a microkernel takes, whose scores stay in the level-1 cache: scores = q k^T;
//            maximum, exponentials and sum per row; sums of v weighted so far, scaled as the maximum grows. Softmax and sums are float32;
//            what is multiplied are floats, pairs of bfloat16 or halves (gemm/halves.inl.h). A row's result does not depend on how the
//            queries are cut into blocks.
// Launch:    one parallel index per (batch, head, block of keys) to pack, then per (batch, head, block of queries).
#include <cmath>

#include "cpu/gemm/halves.inl.h"
#include "cpu/gemm/loaders.inl.h"
#include "cpu/gemm/microkernel.inl.h"
#include "cpu/ops.inl.h"
#include "cpu/simd/math.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kQueryRows = 8 * kMicroRows;  // of a block, which shares a block of keys in the level-2 cache
constexpr int64_t kMostDim = 512;
constexpr float kLog2E = 1.44269504f;
constexpr float kMinusInfinity = -INFINITY;

SDN_INLINE int64_t round_up(int64_t n, int64_t unit) {
    return ceil_div(n, unit) * unit;
}

// The head's slice of a [B,S,H*D] tensor.
const float* head_rows(const sdn_tensor& t, int64_t batch, int64_t head, int64_t dim) {
    return static_cast<const float*>(t.data) + batch * t.stride[0] + head * dim;
}

// An element of the microkernel holds one float, two bfloat16, or one float16.
constexpr int64_t values_of(const float*) {
    return 1;
}
// Vector i of a row of elements.
SDN_INLINE void store_values(float* row, int64_t i, vec a) {
    store(row + i, a);
}
SDN_INLINE void clear_value(float* row, int64_t i) {
    row[i] = 0;
}
// One element from each of two rows of values: a pair of them, or the first; halves times a factor.
SDN_INLINE void store_columns(float* target, const float* first, const float*, int64_t n, float) {
    copy_floats(target, first, n);
}
#if defined(SDN_MULTIPLIES_PAIRS)
constexpr int64_t values_of(const uint32_t*) {
    return 2;
}
SDN_INLINE void store_values(uint32_t* row, int64_t i, vec a) {
    store_bfloat16(row + i / 2, a);
}
SDN_INLINE void clear_value(uint32_t* row, int64_t i) {
    row[i / 2] &= i % 2 == 0 ? 0xffff0000u : 0x0000ffffu;
}
SDN_INLINE void store_columns(uint32_t* target, const float* first, const float* second, int64_t n, float) {
    uint16_t halves[2][kPanelColumns];
    for (int64_t i = 0; i < kPanelColumns; i += kLanes) {
        const int64_t some = max_of(0, min_of(kLanes, n - i));
        store_bfloat16(halves[0] + i, load_partial(first + i, some));
        store_bfloat16(halves[1] + i, second ? load_partial(second + i, some) : zero());
    }
    for (int64_t i = 0; i < n; ++i) target[i] = halves[0][i] | static_cast<uint32_t>(halves[1][i]) << 16;
}
#endif

// Of halves. Scores are exponents: what they are off becomes a relative error of the softmax, and shorter chains keep it small. Chains of
// keys have one length, so that a causal row's do not depend on how many keys its block sees.
constexpr int64_t kScoreChain = 16, kValueChain = kLongestChain;

// c (+)= factors[r] * a b for some rows and columns; factors and chains are of halves.
template <class Element>
SDN_INLINE void multiply(int64_t rows, int64_t width, const Element* a, const Element* b, int64_t steps, int64_t, const float*, float* c,
                         int64_t c_stride, bool accumulate, Upcoming upcoming) {
    multiply_tile(rows, width, a, b, steps, c, c_stride, accumulate, upcoming);
}
#if defined(SDN_MULTIPLIES_HALVES)
SDN_INLINE void multiply(int64_t rows, int64_t, const Half* a, const Half* b, int64_t steps, int64_t chain, const float* factors, float* c,
                         int64_t c_stride, bool accumulate, Upcoming upcoming) {
    multiply_halves(rows, a, b, steps, chain, factors, c, c_stride, accumulate, upcoming);
}
constexpr int64_t values_of(const Half*) {
    return 1;
}
SDN_INLINE void store_values(Half* row, int64_t i, vec a) {
    store_float16(row + i, a);
}
SDN_INLINE void clear_value(Half* row, int64_t i) {
    row[i].bits = 0;
}
// Queries and keys are scaled below 2^4, values below 2^8 to meet a softmax of at most 1: no sum of a chain leaves float16's range.
constexpr int32_t kScoreExponent = 4, kValueExponent = 8;

// The power of two that takes n columns of some rows below 2^exponent: of what is finite, so that the rest spoils nothing else.
SDN_INLINE float scale_below(const float* rows, int64_t stride, int64_t count, int64_t n, int32_t exponent) {
    vec largest = zero();
    for (int64_t r = 0; r < count; ++r)
        for (int64_t i = 0; i < n; i += kLanes) {
            const vec x = load_partial(rows + r * stride + i, min_of(kLanes, n - i));
            largest = larger_magnitude(largest, select_less(abs(x), broadcast(INFINITY), x, zero()));
        }
    return power_of_two(shift_below(magnitude(largest), exponent));
}
#endif

// The first n values of a row, times a factor. Writes whole vectors. store_query() returns what is left to multiply with.
template <class Element>
SDN_INLINE void store_row(Element* target, const float* source, int64_t n, float factor) {
    for (int64_t i = 0; i < n; i += kLanes)
        store_values(target, i, (i + kLanes <= n ? load(source + i) : load_partial(source + i, n - i)) * broadcast(factor));
}

template <class Element>
SDN_INLINE float store_query(Element* target, const float* source, int64_t n, float factor) {
    store_row(target, source, n, factor);
    return 1;
}
#if defined(SDN_MULTIPLIES_HALVES)
SDN_INLINE void store_columns(Half* target, const float* first, const float*, int64_t n, float factor) {
    store_row(target, first, n, factor);
}
SDN_INLINE float store_query(Half* target, const float* source, int64_t n, float factor) {
    return factor * round_to_halves(source, n, kScoreExponent, target);
}
#endif

template <class Element>
struct Attention {
    static constexpr int64_t kValues = values_of(static_cast<const Element*>(nullptr));
    static constexpr bool kHalves = sizeof(Element) == 2;
    static constexpr int64_t kRows = rows_at_once(static_cast<const Element*>(nullptr));

    const sdn_tensor &out, &q, &k, &v;
    bool causal;
    float scale;  // of q; times log2(e), so that 2^x serves as exponential
    int64_t batches, heads, dim, queries, keys;
    int64_t key_block, key_blocks, query_blocks;
    int64_t dim_steps, key_steps;  // elements that hold so many values
    DepthBlocks dim_blocks;        // of dim_steps
    int64_t out_stride;            // floats per row of the weighted sums
    Element *packed_k = nullptr, *packed_v = nullptr;
    float* scales = nullptr;  // of halves: per head and block of keys what one of K and one of V stands for
    float* thread_memory = nullptr;

    Attention(const sdn_tensor& out_, const sdn_tensor& q_, const sdn_tensor& k_, const sdn_tensor& v_, const sdn_attention_params& params)
        : out(out_), q(q_), k(k_), v(v_), causal(params.causal != 0), scale(params.scale * kLog2E) {
        batches = q.shape[0], heads = params.heads, dim = q.shape[2] / heads, queries = q.shape[1], keys = k.shape[1];
        key_block = round_up(ceil_div(keys, ceil_div(keys, kMaxDepth)), kPanelColumns);
        key_blocks = ceil_div(keys, key_block);
        query_blocks = ceil_div(queries, kQueryRows);
        dim_steps = ceil_div(dim, kValues), key_steps = ceil_div(keys, kValues);
        dim_blocks = depth_blocks(dim_steps);
        out_stride = round_up(dim, kPanelColumns);
    }

    int64_t all_heads() const { return batches * heads; }
    // Per head: K^T as panels [dim_steps, kPanelColumns] of kPanelColumns keys, V as panels [key_steps, kPanelColumns] of kPanelColumns of
    // its columns.
    int64_t packed_k_elements() const { return round_up(keys, kPanelColumns) * dim_steps; }
    int64_t packed_v_elements() const { return key_steps * out_stride; }
    // Of a thread: queries, scores, sums, maxima and totals.
    int64_t thread_floats() const {
        return dim_blocks.count * kQueryRows * kRowStride + kRows * kRowStride + kQueryRows * out_stride +
               round_up((2 + dim_blocks.count) * kQueryRows, 16);
    }

    static void pack(void* context, int64_t index, int) {
        const Attention& a = *static_cast<const Attention*>(context);
        const int64_t first = index % a.key_blocks * a.key_block, last = min_of(a.keys, first + a.key_block);
        const int64_t head = index / a.key_blocks;  // of all batches
        const float* const k_rows = head_rows(a.k, head / a.heads, head % a.heads, a.dim);
        const float* const v_rows = head_rows(a.v, head / a.heads, head % a.heads, a.dim);
        float k_scale = 1, v_scale = 1;
#if defined(SDN_MULTIPLIES_HALVES)
        if constexpr (kHalves) {
            k_scale = scale_below(k_rows + first * a.k.stride[1], a.k.stride[1], last - first, a.dim, kScoreExponent);
            v_scale = scale_below(v_rows + first * a.v.stride[1], a.v.stride[1], last - first, a.dim, kValueExponent);
            a.scales[2 * index] = 1 / k_scale, a.scales[2 * index + 1] = 1 / v_scale;
        }
#endif
        a.pack_k(a.packed_k + head * a.packed_k_elements(), k_rows, first, last, k_scale);
        a.pack_v(a.packed_v + head * a.packed_v_elements(), v_rows, first, last, v_scale);
    }

    static void attend(void* context, int64_t index, int thread) {
        static_cast<const Attention*>(context)->attend(index, thread);
    }

  private:
    void pack_k(Element* panels, const float* rows, int64_t first, int64_t last, float factor) const {
        Element row[kMostDim + kLanes];
        for (int64_t i = first; i < round_up(last, kPanelColumns); ++i) {
            Element* const column = panels + i / kPanelColumns * kPanelColumns * dim_steps + i % kPanelColumns;
            if (i < last) store_row(row, rows + i * k.stride[1], dim, factor);
            for (int64_t d = 0; d < dim_steps; ++d) column[d * kPanelColumns] = i < last ? row[d] : Element{};
        }
    }

    void pack_v(Element* panels, const float* rows, int64_t first, int64_t last, float factor) const {
        for (int64_t i = first; i < last; i += kValues) {
            const float* const row = rows + i * v.stride[1];
            for (int64_t d = 0; d < dim; d += kPanelColumns) {
                Element* const target = panels + d * key_steps + i / kValues * kPanelColumns;
                const int64_t n = min_of(kPanelColumns, dim - d);
                store_columns(target, row + d, i + 1 < last ? row + v.stride[1] + d : nullptr, n, factor);
                for (int64_t j = n; j < kPanelColumns; ++j) target[j] = Element{};
            }
        }
    }

    // A thread's scratch for one block of queries.
    struct Block {
        Element* q;
        float *scores, *sums, *maximum, *total, *q_factors;
        int64_t first, count;
    };

    void attend(int64_t index, int thread) const {
        const int64_t head = index / query_blocks;
        float* const memory = thread_memory + thread * thread_floats();
        Block b;
        b.q = reinterpret_cast<Element*>(memory);
        b.scores = memory + dim_blocks.count * kQueryRows * kRowStride;
        b.sums = b.scores + kRows * kRowStride;
        b.maximum = b.sums + kQueryRows * out_stride;
        b.total = b.maximum + kQueryRows;
        b.q_factors = b.total + kQueryRows;
        // Blocks of whole microkernel rows; the last of a causal head first, since it takes longest.
        const int64_t units = ceil_div(queries, kMicroRows);
        const int64_t i = causal ? query_blocks - 1 - index % query_blocks : index % query_blocks;
        b.first = units * i / query_blocks * kMicroRows;
        b.count = min_of(queries, units * (i + 1) / query_blocks * kMicroRows) - b.first;

        clear_floats(b.sums, b.count * out_stride);
        for (int64_t r = 0; r < b.count; ++r) b.maximum[r] = kMinusInfinity, b.total[r] = 0.0f;
        load_queries(b, head_rows(q, head / heads, head % heads, dim));
        const int64_t seen = causal ? b.first + b.count : keys;
        for (int64_t key = 0; key < seen; key += key_block) {
            const int64_t count = min_of(key_block, seen - key);
            const Element* const k_panels = packed_k + head * packed_k_elements() + key * dim_steps;
            const Element* const v_panels = packed_v + head * packed_v_elements() + key / kValues * kPanelColumns;
            const float* const block_scales = scales + 2 * (head * key_blocks + key / key_block);  // of halves
            for (int64_t first = 0; first < b.count; first += kRows) {
                const int64_t rows = min_of(kRows, b.count - first);
                score(b, first, rows, k_panels, count, block_scales);
                for (int64_t r = 0; r < rows; ++r) {
                    const int64_t visible = causal ? min_of(count, b.first + first + r + 1 - key) : count;
                    exponentiate(b, first + r, r, max_of(0, visible), count);
                }
                weigh(b, first, rows, v_panels, count, block_scales);
            }
        }
        store_rows(b, static_cast<float*>(out.data) + head / heads * out.stride[0] + head % heads * dim);
    }

    void load_queries(const Block& b, const float* rows) const {
        for (int64_t j = 0; j < dim_blocks.count; ++j) {
            const int64_t start = j * dim_blocks.depth * kValues, n = min_of(dim_blocks.depth * kValues, dim - start);
            for (int64_t r = 0; r < b.count; ++r)
                b.q_factors[j * kQueryRows + r] =
                    store_query(b.q + (j * kQueryRows + r) * kRowStride, rows + (b.first + r) * q.stride[1] + start, n, scale);
        }
    }

    // scores = q k^T of some rows for `count` keys.
    void score(const Block& b, int64_t first, int64_t rows, const Element* k_panels, int64_t count,
               [[maybe_unused]] const float* block_scales) const {
        for (int64_t i = 0; i < count; i += kPanelColumns) {
            for (int64_t j = 0; j < dim_blocks.count; ++j) {
                const int64_t start = j * dim_blocks.depth, n = min_of(dim_blocks.depth, dim_steps - start);
                const int64_t chain = chain_of(n, kScoreChain);
                const Element* const panel = k_panels + i * dim_steps + start * kPanelColumns;
                float factors[kRows];
                if constexpr (kHalves)
                    for (int64_t r = 0; r < rows; ++r) factors[r] = b.q_factors[j * kQueryRows + first + r] * block_scales[0];
                multiply(rows, count - i, b.q + (j * kQueryRows + first) * kRowStride, panel, n, chain, factors, b.scores + i, kRowStride,
                         j > 0, Upcoming::nothing(panel));
            }
        }
    }

    // A row of scores becomes elements 2^(score - maximum), 0 for the keys in [visible, count), in place (halves: before the rows behind
    // it, so rows have to come in order); sums and total of row r so far follow the new maximum.
    void exponentiate(const Block& b, int64_t r, int64_t row_index, int64_t visible, int64_t count) const {
        float* const row = b.scores + row_index * kRowStride;
        const int64_t end = round_up(visible, kLanes);
        for (int64_t i = visible; i < end; ++i) row[i] = kMinusInfinity;
        const float before = b.maximum[r];
        vec highest = broadcast(before);
        for (int64_t i = 0; i < end; i += kLanes) highest = maximum(highest, load(row + i));
        const float now = maximum(highest);
        const vec shift = broadcast(now);
        Element* const elements = reinterpret_cast<Element*>(b.scores) + row_index * kRowStride;
        vec total = zero();
        for (int64_t i = 0; i < end; i += kLanes) {
            const vec e = exp2(load(row + i) - shift);
            store_values(elements, i, e);
            total += e;
        }
        for (int64_t i = visible; i < end; ++i) clear_value(elements, i);
        for (int64_t i = end / kValues; i < ceil_div(count, kValues); ++i) elements[i] = Element{};
        const vec decay = exp2(broadcast(before) - shift);  // 0 in the first block
        b.maximum[r] = now;
        b.total[r] = maximum(broadcast(b.total[r]) * decay) + sum(total);
        if (now == before) return;
        for (int64_t d = 0; d < out_stride; d += kLanes) store(b.sums + r * out_stride + d, load(b.sums + r * out_stride + d) * decay);
    }

    // sums += scores v of some rows for `count` keys.
    void weigh(const Block& b, int64_t first, int64_t rows, const Element* v_panels, int64_t count,
               [[maybe_unused]] const float* block_scales) const {
        const int64_t steps = ceil_div(count, kValues);
        float factors[kRows];
        if constexpr (kHalves)
            for (int64_t r = 0; r < rows; ++r) factors[r] = block_scales[1];
        for (int64_t d = 0; d < dim; d += kPanelColumns) {
            const Element* const panel = v_panels + d * key_steps;
            multiply(rows, dim - d, reinterpret_cast<const Element*>(b.scores), panel, steps, kValueChain, factors,
                     b.sums + first * out_stride + d, out_stride, true, Upcoming::nothing(panel));
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

template <class Element>
void run(Exec& exec, Attention<Element> a) {
    constexpr int64_t kInFloat = 4 / sizeof(Element);
    const int64_t k_floats = round_up(ceil_div(a.all_heads() * a.packed_k_elements(), kInFloat), 16);
    const int64_t v_floats = round_up(ceil_div(a.all_heads() * a.packed_v_elements(), kInFloat), 16);
    const int64_t scale_floats = Attention<Element>::kHalves ? round_up(2 * a.all_heads() * a.key_blocks, 16) : 0;
    const int64_t floats = k_floats + v_floats + scale_floats + exec_threads(exec) * a.thread_floats();
    float* const memory = static_cast<float*>(exec_scratch(exec, floats * 4));
    if (!exec_measuring(exec)) {
        a.packed_k = reinterpret_cast<Element*>(memory);
        a.packed_v = reinterpret_cast<Element*>(memory + k_floats);
        a.scales = memory + k_floats + v_floats;
        a.thread_memory = a.scales + scale_floats;
        exec_parallel_for(exec, a.all_heads() * a.key_blocks, Attention<Element>::pack, &a);
        exec_parallel_for(exec, a.all_heads() * a.query_blocks, Attention<Element>::attend, &a);
    }
    exec_release(exec, memory);
}

}  // namespace

void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
               const sdn_attention_params& params, int32_t operands) {
#if defined(SDN_MULTIPLIES_PAIRS)
    if (operands == SDN_BFLOAT16) return run(exec, Attention<uint32_t>(out, q, k, v, params));
#elif defined(SDN_MULTIPLIES_HALVES)
    if (operands == SDN_FLOAT16) return run(exec, Attention<Half>(out, q, k, v, params));
#endif
    (void)operands;
    run(exec, Attention<float>(out, q, k, v, params));
}

}  // namespace sdn::cpu::SDN_ISA
