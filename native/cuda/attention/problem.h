// What the attention kernels share: the problem as a kernel sees it, and the launchers of the tuned ones.
#pragma once

#include "cuda/kernel_api.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

// A tensor [B, rows, heads * dim] of any strides with the last 1.
template <class T>
struct HeadRows {
    T* data;
    int64_t batch_stride, row_stride;

    // The first row of a head, whose first element in a row is `first`.
    SDN_HOST_DEVICE T* head(int64_t batch, int64_t first) const { return data + batch * batch_stride + first; }
};

// out = softmax(scale * q k^T) v per head; causal: query i sees keys 0..i.
template <class T>
struct Attention {
    HeadRows<T> out;
    HeadRows<const T> q, k, v;
    int64_t batches, heads;
    int queries, keys, dim;
    bool causal;
    float scale_log2;  // scale * log2(e), so that 2^x serves as exponential
};

// Scores may exceed the maximum that a flash kernel's sums stand for by this much, as a power of 2, before they are scaled again: most
// steps then leave them alone. Weights reach 2^8, far from the limits of float16, and lose nothing, being floats.
inline constexpr float kSlack = 8.0f;

// The same for a flash kernel: the scale is above 0, its sign has gone to the queries, which are zeros where it was 0.
template <class T>
struct FlashAttention : Attention<T> {
    uint32_t query_mask, query_sign;  // of two queries' bits: kept, and flipped
    float slack;                      // in scores

    explicit FlashAttention(const Attention<T>& a)
        : Attention<T>(a), query_mask(a.scale_log2 == 0 ? 0 : ~uint32_t{0}), query_sign(a.scale_log2 < 0 ? 0x80008000u : 0) {
        this->scale_log2 = a.scale_log2 == 0 ? 1.0f : fabsf(a.scale_log2);
        slack = kSlack / this->scale_log2;
    }

    // Rows `row` and `row` + 8 of a head's queries as operands a of an mma, from dimension `first` on; zeros past the last row and
    // dimension. No load is skipped, so that all can be under way together.
    template <int kSteps>
    SDN_DEVICE void load_queries(uint32_t (&q_steps)[kSteps][4], const T* head, int row, int first) const {
        const int column = first + lane_index() % 4 * 2;
        SDN_UNROLL
        for (int i = 0; i < 2; ++i) {
            const bool row_inside = row + 8 * i < this->queries;
            const T* const from = head + (row_inside ? row + 8 * i : 0) * this->q.row_stride;
            SDN_UNROLL
            for (int k = 0; k < 2 * kSteps; ++k) {
                const int d = column + k * 8;
                const Vec<T, 2> pair = load_vec<2>(from + (d < this->dim ? d : 0));
                const uint32_t bits = static_cast<uint32_t>(pair[0].bits) | static_cast<uint32_t>(pair[1].bits) << 16;
                q_steps[k / 2][k % 2 * 2 + i] = ((row_inside && d < this->dim ? bits : 0) & query_mask) ^ query_sign;
            }
        }
    }
};

// Head dims up to 160 and up to 512, multiples of 8, with rows that begin on 16 bytes.
inline constexpr int kFlashMostDim = 160, kWideFlashMostDim = 512;
template <class T>
void launch_flash(Queue& queue, const Attention<T>& a);

// What launch_wide_flash() needs, in bytes.
template <class T>
int64_t wide_flash_scratch(const Limits& limits, const Attention<T>& a);
template <class T>
void launch_wide_flash(Queue& queue, const Attention<T>& a, void* scratch);

}  // namespace sdn::cuda::SDN_TARGET
