// What the attention kernels share: the problem as a kernel sees it.
#pragma once

#include "cuda/kernel_api.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

// A tensor [B, rows, heads * dim] of any strides with the last 1.
template <class T>
struct HeadRows {
    T* data;
    int64_t batch_stride, row_stride;

    // The first row of a head.
    SDN_HOST_DEVICE T* head(int64_t batch, int64_t first_element) const { return data + batch * batch_stride + first_element; }
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

}  // namespace sdn::cuda::SDN_TARGET
