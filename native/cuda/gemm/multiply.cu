// The choice of a mainloop, by shapes and dtypes alone: what an exec measures is what it runs.
#include "core/error.h"
#include "cuda/gemm/product.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int64_t kMostPixels = INT32_MAX - 1024;  // they are counted in 32 bits

}  // namespace

void multiply(Exec& exec, const Product& product) {
    const Source& s = product.source;
    const int64_t images = product.m / (int64_t{s.out_height} * s.out_width);
    const int64_t pixels = max_of(product.m, images * s.height * s.width);
    if (pixels > kMostPixels)
        fail(SDN_ERROR_UNSUPPORTED, "x has %lld pixels or rows, and a CUDA device takes at most %lld at once: divide the batch",
             static_cast<long long>(pixels), static_cast<long long>(kMostPixels));
    if (multiply_few_rows(exec, product) || multiply_few_columns(exec, product) || multiply_sm80(exec, product)) return;
    multiply_simt(exec, product);
}

}  // namespace sdn::cuda::SDN_TARGET
