// Computes:  out = epilogue(A w^T), the product of gemm/product.h
// Shapes:    any, of any dtypes and alignment; activations and weight may differ in dtype
// Algorithm: tiles of 64 x 64 sums in registers over K blocks of 16 in shared memory, all float32: one chain of multiply-adds per output.
// Launch:    grid (tiles, 1, phases), 256 threads, 9.6 KiB.
#include "cuda/gemm/elements.cuh"
#include "cuda/gemm/source.cuh"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256;
constexpr int kStride = kTile + 4;  // floats between two k: columns stay on 16 bytes
constexpr int kPlacesAt = 2 * kDepth * kStride * 4;
constexpr int kSharedBytes = kPlacesAt + kTile * 16;
constexpr int kPerThread = 4;  // rows and columns of sums

SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 2) simt_gemm(const Product p) {
    const Shared<float> a = shared_array<float>(0, kDepth * kStride);
    const Shared<float> b = shared_array<float>(kDepth * kStride * 4, kDepth * kStride);
    const Shared<int32_t> places = shared_array<int32_t>(kPlacesAt, kTile * 4);
    const int thread = thread_index(), phase = static_cast<int>(block_z());
    const int64_t column_tiles = ceil_div<int64_t>(p.n, kTile);
    const int64_t row0 = block_x() / column_tiles * kTile, column0 = block_x() % column_tiles * kTile;
    const int64_t weight0 = phase * p.n * p.weight_stride;

    if (thread < kTile) places.write<4>(4 * thread, row_place(p.source, p.m, row0 + thread, phase / 2, phase % 2));
    sync_block();

    float sums[kPerThread][kPerThread] = {};
    const int k_of_load = thread % kDepth, first_of_load = thread / kDepth;
    const int row = thread / 16 * kPerThread, column = thread % 16 * kPerThread;
    for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
        const int64_t k = k0 + k_of_load;
        const Column from = column_of(p.source, k);
        const bool from_x = from.segment < p.source.taps();
        const void* const x = from_x ? p.source.x : p.source.x2;
        const int64_t channels = from_x ? p.source.channels : p.source.channels2;
        for (int i = first_of_load; i < kTile; i += kThreads / kDepth) {
            const int32_t pixel = k < p.k ? segment_pixel(p.source, places.read<4>(4 * i), from.segment) : -1;
            a[k_of_load * kStride + i] = pixel < 0 ? 0.0f : load_element(x, p.source.dtype, pixel * channels + from.channel);
            const bool inside = k < p.k && column0 + i < p.n;
            b[k_of_load * kStride + i] =
                inside ? load_element(p.weight, p.weight_dtype, weight0 + (column0 + i) * p.weight_stride + k) : 0.0f;
        }
        sync_block();
        SDN_UNROLL
        for (int i = 0; i < kDepth; ++i) {
            const Vec<float, 4> left = a.read<4>(i * kStride + row), right = b.read<4>(i * kStride + column);
            SDN_UNROLL
            for (int r = 0; r < kPerThread; ++r) {
                SDN_UNROLL
                for (int c = 0; c < kPerThread; ++c) sums[r][c] = fmaf(left[r], right[c], sums[r][c]);
            }
        }
        sync_block();
    }

    SDN_UNROLL
    for (int r = 0; r < kPerThread; ++r) {
        const int64_t m = row0 + row + r;
        if (m >= p.m) continue;
        SDN_UNROLL
        for (int c = 0; c < kPerThread; ++c) {
            const int64_t n = column0 + column + c;
            if (n >= p.n) continue;
            if (!p.epilogue.geglu())
                finish_exact(p.epilogue, m, phase, n, sums[r][c], 0);
            else if (c % 2 == 0)  // n is even too, and N
                finish_exact(p.epilogue, m, phase, n / 2, sums[r][c], sums[r][c + 1]);
        }
    }
}

}  // namespace

void multiply_simt(Exec& exec, const Product& product) {
    if (exec_measuring(exec)) return;
    const int64_t tiles = ceil_div<int64_t>(product.m, kTile) * ceil_div<int64_t>(product.n, kTile);
    launch(exec_queue(exec), "simt_gemm_64x64x16", simt_gemm, Grid{tiles, 1, product.phases}, kThreads, kSharedBytes, product);
}

}  // namespace sdn::cuda::SDN_TARGET
