// Computes:  out = (x - mean) / sqrt(var + eps) * scale + shift over the last dimension, biased variance.
// Shapes:    x, out [rows, C] dense.
// Algorithm: layer_norm_in_registers: one warp per row, which is read once and stays in registers for the two passes (mean, then squares of
//            deviations) and the result. layer_norm_two_pass, for rows too long or misaligned: one block per row, read three times.
// Launch:    grid ceil(rows / warps), 1 or 4 warps; or grid rows, 256 threads, 128 bytes of shared memory.
#include "cuda/block_sum.h"
#include "cuda/dispatch.h"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kMostWarps = 4;
constexpr int kBlockThreads = 256;
// A lane holds at most 40 values: rows up to 1280.
constexpr int kMostValues = 40;
constexpr int kMostChannels = kMostValues * kWarpThreads;

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kMostWarps* kWarpThreads, 1)
    layer_norm_in_registers(T* out, const T* x, const float* scale, const float* shift, int64_t rows, int channels, float eps) {
    constexpr int kWidth = 16 / sizeof(T), kVectors = kMostValues / kWidth;
    const int64_t row = block_x() * (block_threads() / kWarpThreads) + warp_index();
    if (row >= rows) return;
    x += row * channels;
    out += row * channels;
    const int lane = lane_index(), vectors = channels / kWidth;

    Vec<T, kWidth> values[kVectors];
    SDN_UNROLL
    for (int i = 0; i < kVectors; ++i)
        if (i * kWarpThreads + lane < vectors) values[i] = load_vec<kWidth>(x + (i * kWarpThreads + lane) * kWidth);

    const float inverse_count = 1.0f / static_cast<float>(channels);
    float sum = 0;
    SDN_UNROLL
    for (int i = 0; i < kVectors; ++i)
        if (i * kWarpThreads + lane < vectors) {
            SDN_UNROLL
            for (int j = 0; j < kWidth; ++j) sum += to_float(values[i][j]);
        }
    const float mean = warp_sum(sum) * inverse_count;
    float squares = 0;
    SDN_UNROLL
    for (int i = 0; i < kVectors; ++i)
        if (i * kWarpThreads + lane < vectors) {
            SDN_UNROLL
            for (int j = 0; j < kWidth; ++j) {
                const float deviation = to_float(values[i][j]) - mean;
                squares = fmaf(deviation, deviation, squares);
            }
        }
    const float inverse = 1.0f / sqrtf(warp_sum(squares) * inverse_count + eps);

    SDN_UNROLL
    for (int i = 0; i < kVectors; ++i) {
        const int channel = (i * kWarpThreads + lane) * kWidth;
        if (channel >= channels) break;
        SDN_UNROLL
        for (int j = 0; j < kWidth; j += 4) {
            const Vec<float, 4> s = load_vec<4>(scale + channel + j), t = load_vec<4>(shift + channel + j);
            SDN_UNROLL
            for (int n = 0; n < 4; ++n) values[i][j + n] = from_float<T>(fmaf((to_float(values[i][j + n]) - mean) * inverse, s[n], t[n]));
        }
        store_vec(out + channel, values[i]);
    }
}

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kBlockThreads, 1)
    layer_norm_two_pass(T* out, const T* x, const float* scale, const float* shift, int64_t channels, float eps) {
    const Shared<float> sums = shared_array<float>(0, kBlockSumFloats);
    x += block_x() * channels;
    out += block_x() * channels;
    float sum = 0;
    for (int64_t c = thread_index(); c < channels; c += kBlockThreads) sum += to_float(x[c]);
    const float mean = block_sum(sum, sums) / static_cast<float>(channels);
    float squares = 0;
    for (int64_t c = thread_index(); c < channels; c += kBlockThreads) {
        const float deviation = to_float(x[c]) - mean;
        squares = fmaf(deviation, deviation, squares);
    }
    const float inverse = 1.0f / sqrtf(block_sum(squares, sums) / static_cast<float>(channels) + eps);
    for (int64_t c = thread_index(); c < channels; c += kBlockThreads)
        out[c] = from_float<T>(fmaf((to_float(x[c]) - mean) * inverse, scale[c], shift[c]));
}

}  // namespace

void layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const NormWeight& weight, float eps) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int64_t channels = weight.channels;
    int64_t rows = 1;
    for (int i = 0; i + 1 < x.rank; ++i) rows *= x.shape[i];
    with_element_type(x.dtype, [&](auto element) {
        using T = decltype(element);
        T* const to = static_cast<T*>(out.data);
        const T* const from = static_cast<const T*>(x.data);
        const bool vectors = channels % (16 / static_cast<int>(sizeof(T))) == 0 && is_aligned(to) && is_aligned(from) &&
                             is_aligned(weight.scale) && is_aligned(weight.shift);
        if (vectors && channels <= kMostChannels) {
            const int warps = rows > int64_t{kMostWarps} * queue.limits.multiprocessors ? kMostWarps : 1;
            launch(queue, "sm80_layer_norm_in_registers", layer_norm_in_registers<T>, Grid{ceil_div(rows, int64_t{warps})},
                   warps * kWarpThreads, 0, to, from, weight.scale, weight.shift, rows, static_cast<int>(channels), eps);
        } else {
            launch(queue, "sm80_layer_norm_two_pass", layer_norm_two_pass<T>, Grid{rows}, kBlockThreads,
                   kBlockSumFloats * static_cast<int>(sizeof(float)), to, from, weight.scale, weight.shift, channels, eps);
        }
    });
}

}  // namespace sdn::cuda::SDN_TARGET
