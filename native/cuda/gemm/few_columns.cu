// Computes:  out = epilogue(A w^T) of at most 4 columns: the convolutions that end a UNet or a VAE
// Shapes:    A [M,K] by the pixels under a kernel, w [N,K] in shared memory, all of one 16-bit dtype, channels in multiples of 8
// Algorithm: dot products: a warp takes 4 rows of A, its lanes chunks of 8 channels; the warp's sums are added at the end.
// Launch:    ceil(M / 32) blocks of 256 threads, 2 N K bytes.
#include "cuda/gemm/elements.cuh"
#include "cuda/gemm/source.cuh"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpThreads;
constexpr int kRows = 4, kMostColumns = 4;  // of a warp
constexpr int64_t kMostSharedBytes = 48 * 1024;

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 2) few_columns(const Product p) {
    const int columns = static_cast<int>(p.n), depth = static_cast<int>(p.k), lane = lane_index();
    const Shared<T> weight = shared_array<T>(0, columns * depth);
    for (int i = 8 * thread_index(); i < columns * depth; i += 8 * kThreads) {
        const int column = i / depth;
        weight.template write<8>(i, load_vec<8>(static_cast<const T*>(p.weight) + column * p.weight_stride + (i - column * depth)));
    }
    sync_block();

    const int64_t row = (block_x() * kWarps + warp_index()) * kRows;
    StoredRowPlace places[kRows];
    SDN_UNROLL
    for (int r = 0; r < kRows; ++r) places[r] = row_place(p.source, p.m, row + r, 0, 0);

    float sums[kRows][kMostColumns] = {};
    for (int k = 8 * lane; k < depth; k += 8 * kWarpThreads) {
        const Column from = column_of(p.source, k);
        const bool of_x = from.segment < p.source.taps();
        const T* const x = static_cast<const T*>(of_x ? p.source.x : p.source.x2);
        const int64_t channels = of_x ? p.source.channels : p.source.channels2;
        Vec<T, 8> values[kRows];
        SDN_UNROLL
        for (int r = 0; r < kRows; ++r) {
            const int32_t pixel = segment_pixel(p.source, places[r], from.segment);
            if (pixel >= 0) {
                values[r] = load_vec<8>(x + pixel * channels + from.channel);
            } else {
                SDN_UNROLL
                for (int i = 0; i < 8; ++i) values[r][i] = from_float<T>(0.0f);
            }
        }
        SDN_UNROLL
        for (int c = 0; c < kMostColumns; ++c) {
            if (c >= columns) break;
            const Vec<T, 8> w = weight.template read<8>(c * depth + k);
            SDN_UNROLL
            for (int i = 0; i < 8; ++i) {
                const float wide = to_float(w[i]);
                SDN_UNROLL
                for (int r = 0; r < kRows; ++r) sums[r][c] = fmaf(to_float(values[r][i]), wide, sums[r][c]);
            }
        }
    }
    // Lane 4 r + c finishes column c of row r.
    float mine = 0, next = 0;
    SDN_UNROLL
    for (int r = 0; r < kRows; ++r) {
        SDN_UNROLL
        for (int c = 0; c < kMostColumns; ++c) {
            const float sum = warp_sum(sums[r][c]);
            if (lane == kMostColumns * r + c) mine = sum;
            if (lane == kMostColumns * r + c - 1) next = sum;  // the gate, with geglu
        }
    }
    const int64_t m = row + lane / kMostColumns, n = lane % kMostColumns;
    if (lane >= kRows * kMostColumns || m >= p.m || n >= columns) return;
    if (!p.epilogue.geglu())
        finish_exact(p.epilogue, m, 0, n, mine, 0);
    else if (n % 2 == 0)
        finish_exact(p.epilogue, m, 0, n / 2, mine, next);
}

}  // namespace

bool multiply_few_columns(Exec& exec, const Product& p) {
    const Source& s = p.source;
    if (p.n > kMostColumns || p.phases != 1 || s.dtype == SDN_FLOAT32 || s.dtype != p.weight_dtype || s.dtype != p.epilogue.dtype ||
        s.channels % 8 != 0 || s.channels2 % 8 != 0 || 2 * p.n * p.k > kMostSharedBytes)
        return false;
    if (exec_measuring(exec)) return true;
    if (!on_16_bytes(s.x) || !on_16_bytes(s.x2)) {  // as little scratch as measured
        multiply_simt(exec, p);
        return true;
    }
    launch(exec_queue(exec), "few_columns", s.dtype == SDN_FLOAT16 ? few_columns<half> : few_columns<bfloat16>,
           Grid{ceil_div<int64_t>(p.m, kWarps * kRows)}, kThreads, static_cast<int>(2 * p.n * p.k), p);
    return true;
}

}  // namespace sdn::cuda::SDN_TARGET
