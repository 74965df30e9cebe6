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
};

// Head dims up to 160 and up to 512, multiples of 8, with rows that begin on 16 bytes.
inline constexpr int kFlashMostDim = 160, kWideFlashMostDim = 512;
template <class T>
void launch_flash(Queue& queue, const Attention<T>& a);

// What launch_wide_flash() needs, in bytes.
int64_t wide_flash_scratch(const Limits& limits, int64_t heads, int64_t queries, int64_t keys);
template <class T>
void launch_wide_flash(Queue& queue, const Attention<T>& a, void* scratch);

}  // namespace sdn::cuda::SDN_TARGET
