// dynamic_threshold and rescale_guidance: statistics per sample, then one elementwise pass.
// Shapes:    x [B,...], dense float32; cond of rescale_guidance any activation dtype.
// Algorithm: quantile by selecting four bits of the pattern at a time; standard deviation by two passes in float64, in a fixed order.
// Launch:    one block of 512 threads per sample; under 3 KiB of shared memory.
#include "cuda/convert.cuh"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarpThreads;
constexpr int kDigitBits = 4, kDigits = 1 << kDigitBits;
constexpr uint32_t kInfinityBits = 0x7f800000u;
constexpr int kThresholdShared = kWarps * kDigits * 4 + kDigits * 4;
constexpr int kRescaleShared = kWarps * 8;

// Of |x|: as integers these are in the order of the numbers.
SDN_DEVICE uint32_t magnitude_bits(float x) {
    return std::bit_cast<uint32_t>(x) & 0x7fffffffu;
}

// sums[d] = over the block, counts[d] of all threads.
SDN_DEVICE void sum_over_block(Shared<int32_t> per_warp, Shared<int32_t> sums, const int32_t (&counts)[kDigits]) {
    SDN_UNROLL
    for (int d = 0; d < kDigits; ++d) {
        const int32_t sum = warp_sum(counts[d]);
        if (lane_index() == 0) per_warp[warp_index() * kDigits + d] = sum;
    }
    sync_block();
    if (thread_index() < kDigits) {
        int32_t sum = 0;
        for (int w = 0; w < kWarps; ++w) sum += per_warp[w * kDigits + thread_index()];
        sums[thread_index()] = sum;
    }
    sync_block();
}

// The element that sorting by magnitude would put at `rank`, and how many are not above it. Four bits of the answer per pass: of the
// elements that begin with the bits found so far, count those with each next digit.
struct Selected {
    uint32_t bits;
    int32_t at_most;
};
SDN_DEVICE Selected select_rank(const float* x, int32_t count, int32_t rank, Shared<int32_t> per_warp, Shared<int32_t> sums) {
    uint32_t found = 0;
    int32_t below = 0, at_most = count;
    for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
        int32_t counts[kDigits] = {};
        for (int32_t i = thread_index(); i < count; i += kThreads) {
            const uint32_t bits = magnitude_bits(x[i]);
            const bool candidate = shift == 32 - kDigitBits || bits >> (shift + kDigitBits) == found;
            const int digit = candidate ? static_cast<int>(bits >> shift & (kDigits - 1)) : -1;
            SDN_UNROLL
            for (int d = 0; d < kDigits; ++d) counts[d] += digit == d ? 1 : 0;
        }
        sum_over_block(per_warp, sums, counts);
        int digit = 0;
        while (below + sums[digit] <= rank) below += sums[digit++];
        at_most = below + sums[digit];
        found = found << kDigitBits | static_cast<uint32_t>(digit);
        sync_block();  // sums are written again in the next pass
    }
    return {found, at_most};
}

SDN_DEVICE uint32_t block_min(uint32_t value, Shared<int32_t> per_warp) {
    SDN_UNROLL
    for (int mask = kWarpThreads / 2; mask > 0; mask /= 2) value = min_of(value, shuffle_xor(value, mask));
    if (lane_index() == 0) per_warp[warp_index()] = static_cast<int32_t>(value);
    sync_block();
    for (int w = 0; w < kWarps; ++w) value = min_of(value, static_cast<uint32_t>(per_warp[w]));
    return value;
}

// below, above, weight: the quantile is `weight` of the way from one rank to the other.
SDN_LAUNCH_BOUNDS(kThreads, 1)
SDN_KERNEL void threshold_samples(float* out, const float* x, int32_t count, int32_t below, int32_t above, float weight, float max_value) {
    Shared<int32_t> per_warp = shared_array<int32_t>(0, kWarps * kDigits);
    Shared<int32_t> sums = shared_array<int32_t>(kWarps * kDigits * 4, kDigits);
    x += block_x() * count;
    out += block_x() * count;

    bool nan = false;
    for (int32_t i = thread_index(); i < count; i += kThreads) nan = nan || magnitude_bits(x[i]) > kInfinityBits;
    float limit;
    if (sync_block_or(nan)) {
        limit = NAN;  // the quantile of a sample with a NaN is NaN, and with it the whole sample
    } else {
        const Selected selected = select_rank(x, count, below, per_warp, sums);
        const float low = std::bit_cast<float>(selected.bits);
        float high = low;
        if (selected.at_most <= above) {
            uint32_t next = kInfinityBits;
            for (int32_t i = thread_index(); i < count; i += kThreads) {
                const uint32_t bits = magnitude_bits(x[i]);
                if (bits > selected.bits) next = min_of(next, bits);
            }
            high = std::bit_cast<float>(block_min(next, per_warp));
        }
        const float quantile = weight < 0.5f ? low + weight * (high - low) : high - (high - low) * (1.0f - weight);
        limit = quantile < 1.0f ? 1.0f : quantile;
        limit = max_value < limit ? max_value : limit;
    }
    for (int32_t i = thread_index(); i < count; i += kThreads) {
        float value = x[i];
        value = value < -limit ? -limit : value;
        value = limit < value ? limit : value;
        out[i] = value / limit;
    }
}

// The sum over the block, the same bits in all threads.
SDN_DEVICE double block_sum(double value, Shared<double> per_warp) {
    value = warp_sum(value);
    sync_block();  // the last sum has been read
    if (lane_index() == 0) per_warp[warp_index()] = value;
    sync_block();
    double sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += per_warp[w];
    return sum;
}

SDN_DEVICE double deviation(const void* x, int32_t dtype, int64_t first, int64_t count, Shared<double> per_warp) {
    double sum = 0, squares = 0;
    for (int64_t i = thread_index(); i < count; i += kThreads) sum += static_cast<double>(load_float(x, dtype, first + i));
    const double mean = block_sum(sum, per_warp) / static_cast<double>(count);
    for (int64_t i = thread_index(); i < count; i += kThreads) {
        const double d = static_cast<double>(load_float(x, dtype, first + i)) - mean;
        squares += d * d;
    }
    return sqrt(block_sum(squares, per_warp) / static_cast<double>(count - 1));
}

SDN_LAUNCH_BOUNDS(kThreads, 1)
SDN_KERNEL void rescale_samples(float* out, const float* guided, const void* cond, int32_t cond_dtype, int64_t count, float factor) {
    Shared<double> per_warp = shared_array<double>(0, kWarps);
    const int64_t first = block_x() * count;
    const float ratio =
        static_cast<float>(deviation(cond, cond_dtype, first, count, per_warp) / deviation(guided, SDN_FLOAT32, first, count, per_warp));
    for (int64_t i = first + thread_index(); i < first + count; i += kThreads)
        out[i] = factor * (guided[i] * ratio) + (1.0f - factor) * guided[i];
}

int64_t sample_size(const sdn_tensor& tensor) {
    int64_t count = 1;
    for (int i = 1; i < tensor.rank; ++i) count *= tensor.shape[i];
    return count;
}

}  // namespace

void dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value) {
    if (exec_measuring(exec)) return;
    const int64_t count = sample_size(x);
    // torch.quantile with linear interpolation, in float32 as torch does it.
    const float rank = ratio * static_cast<float>(count - 1);
    const int64_t below = min_of(static_cast<int64_t>(rank), count - 1), above = min_of(static_cast<int64_t>(ceilf(rank)), count - 1);
    const float weight = rank - static_cast<float>(below);
    launch(exec_queue(exec), "dynamic_threshold", threshold_samples, Grid{x.shape[0]}, kThreads, kThresholdShared,
           static_cast<float*>(out.data), static_cast<const float*>(x.data), static_cast<int32_t>(count), static_cast<int32_t>(below),
           static_cast<int32_t>(above), weight, max_value);
}

void rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor) {
    if (exec_measuring(exec)) return;
    launch(exec_queue(exec), "rescale_guidance", rescale_samples, Grid{guided.shape[0]}, kThreads, kRescaleShared,
           static_cast<float*>(out.data), static_cast<const float*>(guided.data), static_cast<const void*>(cond.data), cond.dtype,
           sample_size(guided), factor);
}

}  // namespace sdn::cuda::SDN_TARGET
