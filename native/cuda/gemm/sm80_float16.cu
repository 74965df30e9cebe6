// Computes:  out = epilogue(A w^T), the product of gemm/product.h, all of float16
// Shapes:    A [M,K] by its loader, w [N,K] rows on 16 bytes
// Algorithm: the tensor-core mainloop of gemm/sm80_mainloop.cuh; split along K, float32 partial sums and a second kernel that adds them.
// Launch:    grid (tiles, splits, phases), 128 or 256 threads, up to 227 KiB; the sum: ceil(chunks / 128) blocks of 128 threads.
#include "cuda/gemm/sm80_kernels.cuh"

namespace sdn::cuda::SDN_TARGET {

void launch_sm80_float16(Queue& queue, const char* name, int tile, bool gather, const TensorProduct& t) {
    launch_sm80<half>(queue, name, tile, gather, t);
}
void launch_split_sum_float16(Queue& queue, const char* name, const TensorProduct& t) {
    launch_split_sum<half>(queue, name, t);
}

}  // namespace sdn::cuda::SDN_TARGET
