// Elementwise ops of the scheduler and the image end: linear_combination, blend, clamp, image_to_uint8, is_finite.
// Shapes: dense, any. Algorithm: one pass over pieces of fixed size.
#include <atomic>
#include <bit>
#include <cmath>

#include "core/dtype.h"
#include "cpu/baseline.h"

namespace sdn::cpu {

namespace {

int64_t element_count(const sdn_tensor& tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
    return count;
}

const float* floats(const sdn_tensor& tensor) {
    return static_cast<const float*>(tensor.data);
}

// True if any of the elements has all exponent bits set.
template <class Bits>
bool any_special(const void* data, int64_t begin, int64_t end, Bits exponent_mask) {
    const Bits* bits = static_cast<const Bits*>(data);
    Bits special = 0;
    for (int64_t i = begin; i < end; ++i) special |= static_cast<Bits>((bits[i] & exponent_mask) == exponent_mask);
    return special != 0;
}

}  // namespace

void linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients, int32_t count) {
    if (exec.measuring()) return;
    constexpr int64_t kBlock = 256;  // sums kept on the stack; out may be one of the inputs, so it is written last
    float* o = static_cast<float*>(out.data);
    parallel_for_pieces(exec, element_count(out), kElementPiece, [&](int64_t begin, int64_t end) {
        double sums[kBlock];
        for (int64_t block = begin; block < end; block += kBlock) {
            const int64_t n = end - block < kBlock ? end - block : kBlock;
            for (int32_t k = 0; k < count; ++k) {
                const float* x = floats(inputs[k]) + block;
                const double c = coefficients[k];
                if (k == 0)
                    for (int64_t i = 0; i < n; ++i) sums[i] = c * static_cast<double>(x[i]);
                else
                    for (int64_t i = 0; i < n; ++i) sums[i] += c * static_cast<double>(x[i]);
            }
            for (int64_t i = 0; i < n; ++i) o[block + i] = static_cast<float>(sums[i]);
        }
    });
}

void blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask) {
    if (exec.measuring()) return;
    const float *x = floats(a), *y = floats(b), *m = floats(mask);
    float* o = static_cast<float*>(out.data);
    const int64_t count = element_count(out), channels = out.shape[3], sample = count / out.shape[0];
    const int64_t repeat = channels / mask.shape[3];             // neighbours that share a mask value
    const int64_t period = mask.shape[0] == 1 ? sample : count;  // elements after which the mask begins again
    parallel_for_pieces(exec, count, kElementPiece, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const double share = static_cast<double>(m[i % period / repeat]);
            o[i] = static_cast<float>((1.0 - share) * static_cast<double>(x[i]) + share * static_cast<double>(y[i]));
        }
    });
}

void clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high) {
    if (exec.measuring()) return;
    const float* s = floats(x);
    float* o = static_cast<float*>(out.data);
    parallel_for_pieces(exec, element_count(x), kElementPiece, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {  // in this order NaN stays NaN
            const float value = s[i] < low ? low : s[i];
            o[i] = value > high ? high : value;
        }
    });
}

void image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    if (exec.measuring()) return;
    const float* s = floats(x);
    uint8_t* o = static_cast<uint8_t*>(out.data);
    parallel_for_pieces(exec, element_count(x), kElementPiece, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            float value = s[i] * 0.5f + 0.5f;
            value = value > 0.0f ? value : 0.0f;  // NaN too
            value = value < 1.0f ? value : 1.0f;
            o[i] = static_cast<uint8_t>(std::bit_cast<int32_t>(value * 255.0f + 0x1p23f));  // the sum rounds half to even
        }
    });
}

bool is_finite(Exec& exec, const sdn_tensor& x) {
    if (exec.measuring() || !is_float_dtype(x.dtype)) return true;
    std::atomic<bool> special{false};
    parallel_for_pieces(exec, element_count(x), kElementPiece, [&](int64_t begin, int64_t end) {
        bool found = false;
        switch (x.dtype) {
            case SDN_FLOAT32:
                found = any_special<uint32_t>(x.data, begin, end, 0x7f800000u);
                break;
            case SDN_FLOAT16:
                found = any_special<uint16_t>(x.data, begin, end, 0x7c00u);
                break;
            case SDN_BFLOAT16:
                found = any_special<uint16_t>(x.data, begin, end, 0x7f80u);
                break;
            default:
                found = any_special<uint64_t>(x.data, begin, end, 0x7ff0000000000000u);
                break;
        }
        if (found) special.store(true, std::memory_order_relaxed);
    });
    return !special.load();
}

}  // namespace sdn::cpu
