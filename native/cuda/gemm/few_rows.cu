// Computes:  out = epilogue(A w^T) of at most 16 rows: time embeddings, pooled text
// Shapes:    A [M,K1] and [M,K2], w [N,K1+K2], all of one 16-bit dtype, rows on 16 bytes
// Algorithm: a warp multiplies two rows of w (a value and its gate, with geglu) by 8 rows of A: each weight is read once from memory.
// Launch:    grid (ceil(N / 16), ceil(M / 8)), 256 threads.
#include "cuda/gemm/elements.cuh"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpThreads;
constexpr int kRows = 8, kColumns = 2;  // of a warp
constexpr int64_t kMostRows = 16;

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 2) few_rows(const Product p) {
    const int lane = lane_index();
    const int64_t column = (block_x() * kWarps + warp_index()) * kColumns;
    if (column >= p.n) return;  // the whole warp
    const int64_t row = block_y() * kRows;
    const int rows = static_cast<int>(min_of<int64_t>(kRows, p.m - row));
    const bool two = column + 1 < p.n;
    const T* const weight = static_cast<const T*>(p.weight) + column * p.weight_stride;

    float sums[kRows][kColumns] = {};
    for (int64_t k = 8 * lane; k < p.k; k += 8 * kWarpThreads) {
        const Vec<T, 8> first = load_vec<8>(weight + k), second = load_vec<8>(weight + (two ? p.weight_stride : 0) + k);
        float w[kColumns][8];
        SDN_UNROLL
        for (int i = 0; i < 8; ++i) w[0][i] = to_float(first[i]), w[1][i] = to_float(second[i]);
        const bool of_x = k < p.source.channels;
        const T* const x = static_cast<const T*>(of_x ? p.source.x : p.source.x2) + (of_x ? k : k - p.source.channels);
        const int64_t stride = of_x ? p.source.channels : p.source.channels2;
        SDN_UNROLL
        for (int r = 0; r < kRows; ++r) {
            if (r >= rows) break;
            const Vec<T, 8> values = load_vec<8>(x + (row + r) * stride);
            SDN_UNROLL
            for (int i = 0; i < 8; ++i) {
                SDN_UNROLL
                for (int c = 0; c < kColumns; ++c) sums[r][c] = fmaf(to_float(values[i]), w[c][i], sums[r][c]);
            }
        }
    }
    SDN_UNROLL
    for (int r = 0; r < kRows; ++r) {
        const float first = warp_sum(sums[r][0]), second = warp_sum(sums[r][1]);
        if (r >= rows || lane >= kColumns) continue;
        if (!p.epilogue.geglu()) {
            if (lane == 0 || two) finish_exact(p.epilogue, row + r, 0, column + lane, lane == 0 ? first : second, 0);
        } else if (lane == 0) {
            finish_exact(p.epilogue, row + r, 0, column / 2, first, second);
        }
    }
}

}  // namespace

bool multiply_few_rows(Exec& exec, const Product& p) {
    const Source& s = p.source;
    const bool plain = s.taps() == 1 && s.height == 1 && s.width == 1 && s.out_height == 1 && s.out_width == 1 && s.pad_top == 0 &&
                       s.pad_left == 0 && p.phases == 1;
    if (!plain || p.m > kMostRows || s.dtype == SDN_FLOAT32 || s.dtype != p.weight_dtype || s.dtype != p.epilogue.dtype ||
        s.channels % 8 != 0 || s.channels2 % 8 != 0)
        return false;
    if (exec_measuring(exec)) return true;
    if (!on_16_bytes(s.x) || !on_16_bytes(s.x2)) {  // as little scratch as measured
        multiply_simt(exec, p);
        return true;
    }
    launch(exec_queue(exec), "few_rows", s.dtype == SDN_FLOAT16 ? few_rows<half> : few_rows<bfloat16>,
           Grid{ceil_div<int64_t>(p.n, kWarps * kColumns), ceil_div<int64_t>(p.m, kRows)}, kThreads, 0, p);
    return true;
}

}  // namespace sdn::cuda::SDN_TARGET
