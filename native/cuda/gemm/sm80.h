// The tensor-core kernels as the host sees them. `tile` counts as in tuning/tiles.h; gather: A element by element, its own tile.
#pragma once

#include "cuda/gemm/product.h"

namespace sdn::cuda::SDN_TARGET {

struct TensorProduct {
    Product p;
    float* partials = nullptr;  // [splits, phases, M, partial_stride], or nullptr: one split, finished in place
    int64_t partial_stride = 0;
    int32_t splits = 1;
    int32_t depths_per_split = 0;  // of the k of a stage
    int32_t stages = 2;
    uint32_t weight_chunks = 0;               // of 16 bytes in a row of the weight
    int32_t row_tiles = 0, column_tiles = 0;  // set by the launch
};

constexpr int kSplitSumThreads = 128;

void launch_sm80_float16(Queue& queue, const char* name, int tile, bool gather, const TensorProduct& t);
void launch_sm80_bfloat16(Queue& queue, const char* name, int tile, bool gather, const TensorProduct& t);
// out = epilogue of the sum of the partials.
void launch_split_sum_float16(Queue& queue, const char* name, const TensorProduct& t);
void launch_split_sum_bfloat16(Queue& queue, const char* name, const TensorProduct& t);

}  // namespace sdn::cuda::SDN_TARGET
