// Computes:  out = softmax(scale * q k^T) v per head; causal: query i sees keys 0..i
// Shapes:    q, out [B,Sq,H*D], k, v [B,Sk,H*D], any strides with the last 1; D from 1 to 512
// Algorithm: simt_attention, for any dtype, head dim and alignment, in float32: a warp has four queries; its lanes each score one of 32
// keys,
//            take part in the online softmax, and then each sum every 32nd dimension of the values. What suits tensor cores goes to
//            attention/flash.cu (D up to 160) and attention/flash_wide.cu.
// Launch:    grid B * H * ceil(Sq / 16), 128 threads; queries, a tile of keys and the weights in shared memory.
#include "cuda/dispatch.h"
#include "cuda/attention/problem.h"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kWarps = 4;
constexpr int kRows = 4;  // queries of a warp
constexpr int kQueries = kWarps * kRows;
constexpr int kKeys = kWarpThreads;
constexpr int kThreads = kWarps * kWarpThreads;
constexpr int kMostDim = 512;
constexpr int64_t kMostGridYZ = 65535;
constexpr int kPanels = kMostDim / kWarpThreads;  // of 32 dimensions, one per lane

struct SimtLayout {          // of shared memory, in bytes
    int q_stride, k_stride;  // floats
    int k, weights, bytes;

    SDN_HOST_DEVICE explicit SimtLayout(int dim) {
        q_stride = ceil_div(dim, 4) * 4;
        k_stride = dim | 1;  // odd, so that the lanes' rows begin in different banks
        k = kQueries * q_stride * 4;
        weights = k + ceil_div(kKeys * k_stride, 4) * 16;
        bytes = weights + kWarps * kKeys * kRows * 4;
    }
};

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 2) simt_attention(Attention<T> a) {
    const SimtLayout layout(a.dim);
    const Shared<float> q_rows = shared_array<float>(0, kQueries * layout.q_stride);
    const Shared<float> k_rows = shared_array<float>(layout.k, kKeys * layout.k_stride);
    const Shared<float> weights = shared_array<float>(layout.weights + warp_index() * kKeys * kRows * 4, kKeys * kRows);

    const int query_blocks = ceil_div(a.queries, kQueries);
    const int64_t head = block_x() / query_blocks, batch = head / a.heads, offset = head % a.heads * a.dim;
    const int first_query = static_cast<int>(block_x() % query_blocks) * kQueries, first_row = first_query + warp_index() * kRows;
    const T* const q = a.q.head(batch, offset);
    const T* const k = a.k.head(batch, offset);
    const T* const v = a.v.head(batch, offset);
    const int lane = lane_index();

    for (int i = thread_index(); i < kQueries * a.dim; i += kThreads) {
        const int row = i / a.dim, d = i % a.dim;
        q_rows[row * layout.q_stride + d] =
            first_query + row < a.queries ? to_float(q[(first_query + row) * a.q.row_stride + d]) * a.scale_log2 : 0.0f;
    }

    float sums[kRows][kPanels] = {}, maximum[kRows], total[kRows] = {};
    SDN_UNROLL
    for (int r = 0; r < kRows; ++r) maximum[r] = -INFINITY;
    const int visible = a.causal ? min_of(a.keys, first_query + kQueries) : a.keys;
    for (int first_key = 0; first_key < visible; first_key += kKeys) {
        sync_block();
        for (int i = thread_index(); i < kKeys * a.dim; i += kThreads) {
            const int row = i / a.dim, d = i % a.dim;
            if (first_key + row < a.keys) k_rows[row * layout.k_stride + d] = to_float(k[(first_key + row) * a.k.row_stride + d]);
        }
        sync_block();

        const int key = first_key + lane;
        float scores[kRows] = {};
        if (key < a.keys) {
            for (int d = 0; d < a.dim; ++d) {
                const float k_value = k_rows[lane * layout.k_stride + d];
                SDN_UNROLL
                for (int r = 0; r < kRows; ++r)
                    scores[r] = fmaf(q_rows[(warp_index() * kRows + r) * layout.q_stride + d], k_value, scores[r]);
            }
        }
        Vec<float, kRows> weight;
        SDN_UNROLL
        for (int r = 0; r < kRows; ++r) {
            const bool seen = key < a.keys && (!a.causal || key <= first_row + r);
            const float score = seen ? scores[r] : -INFINITY;
            const float highest = max_of(maximum[r], warp_max(score));
            const float shrink = exp2_approx(maximum[r] - highest);
            maximum[r] = highest;
            weight[r] = seen ? exp2_approx(score - highest) : 0.0f;
            total[r] = fmaf(total[r], shrink, weight[r]);
            SDN_UNROLL
            for (int p = 0; p < kPanels; ++p)
                if (p * kWarpThreads < a.dim) sums[r][p] *= shrink;
        }
        weights.template write<kRows>(lane * kRows, weight);
        sync_warp();
        const int count = min_of(kKeys, visible - first_key);
        for (int j = 0; j < count; ++j) {
            const Vec<float, kRows> w = weights.template read<kRows>(j * kRows);
            const T* const values = v + (first_key + j) * a.v.row_stride;
            SDN_UNROLL
            for (int p = 0; p < kPanels; ++p) {
                if (p * kWarpThreads + lane >= a.dim) continue;
                const float value = to_float(values[p * kWarpThreads + lane]);
                SDN_UNROLL
                for (int r = 0; r < kRows; ++r) sums[r][p] = fmaf(w[r], value, sums[r][p]);
            }
        }
    }

    SDN_UNROLL
    for (int r = 0; r < kRows; ++r) {
        const float inverse = 1.0f / warp_sum(total[r]);
        if (first_row + r >= a.queries) continue;
        T* const out = a.out.head(batch, offset) + (first_row + r) * a.out.row_stride;
        SDN_UNROLL
        for (int p = 0; p < kPanels; ++p)
            if (p * kWarpThreads + lane < a.dim) out[p * kWarpThreads + lane] = from_float<T>(sums[r][p] * inverse);
    }
}

template <class T>
Attention<T> problem_of(const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
                        const sdn_attention_params& params) {
    Attention<T> a{};
    a.out = {static_cast<T*>(out.data), out.stride[0], out.stride[1]};
    a.q = {static_cast<const T*>(q.data), q.stride[0], q.stride[1]};
    a.k = {static_cast<const T*>(k.data), k.stride[0], k.stride[1]};
    a.v = {static_cast<const T*>(v.data), v.stride[0], v.stride[1]};
    a.batches = q.shape[0];
    a.heads = params.heads;
    a.queries = static_cast<int>(q.shape[1]);
    a.keys = static_cast<int>(k.shape[1]);
    a.dim = static_cast<int>(q.shape[2] / params.heads);
    a.causal = params.causal != 0;
    a.scale_log2 = params.scale * 1.44269504f;
    return a;
}

template <class T>
void launch_simt(Queue& queue, const Attention<T>& a) {
    launch(queue, "simt_attention", simt_attention<T>, Grid{a.batches * a.heads * ceil_div(a.queries, kQueries)}, kThreads,
           SimtLayout(a.dim).bytes, a);
}

// Whether all rows of a tensor of 2-byte elements begin on 16 bytes.
bool in_vectors(const sdn_tensor& t) {
    return is_aligned(t.data) && (t.shape[0] == 1 || t.stride[0] % 8 == 0) && (t.shape[1] == 1 || t.stride[1] % 8 == 0);
}

}  // namespace

void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
               const sdn_attention_params& params) {
    Queue& queue = exec_queue(exec);
    with_element_type(q.dtype, [&](auto element) {
        using T = decltype(element);
        const Attention<T> a = problem_of<T>(out, q, k, v, params);
        if constexpr (is_16_bit<T>) {
            if (a.dim % 8 == 0 && a.heads <= kMostGridYZ && a.batches <= kMostGridYZ) {
                // Addresses are stand-ins while measuring, so scratch is taken whatever they are.
                const bool wide = a.dim > kFlashMostDim;
                const int64_t bytes = wide ? wide_flash_scratch(queue.limits, a) : 0;
                void* const scratch = bytes > 0 ? exec_scratch(exec, bytes) : nullptr;
                if (!exec_measuring(exec)) {
                    if (!in_vectors(q) || !in_vectors(k) || !in_vectors(v) || !in_vectors(out))
                        launch_simt(queue, a);
                    else if (wide)
                        launch_wide_flash(queue, a, scratch);
                    else
                        launch_flash(queue, a);
                }
                if (scratch != nullptr) exec_release(exec, scratch);
                return;
            }
        }
        if (!exec_measuring(exec)) launch_simt(queue, a);
    });
}

}  // namespace sdn::cuda::SDN_TARGET
