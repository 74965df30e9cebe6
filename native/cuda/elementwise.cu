// Elementwise ops of the scheduler and the image end: linear_combination, blend, clamp, image_to_uint8, find_nonfinite.
// Shapes:    dense, any.
// Algorithm: one element per thread and round; linear_combination and blend sum in float64 and round once.
// Launch:    blocks of 256 threads, at most 32 per multiprocessor, which stride.
#include "core/dtype.h"
#include "cuda/convert.cuh"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256;
constexpr int kMostInputs = 8;

int64_t element_count(const sdn_tensor& tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
    return count;
}

Grid grid_for(const Queue& queue, int64_t count) {
    return {min_of(ceil_div<int64_t>(count, kThreads), int64_t{32} * queue.limits.multiprocessors)};
}

SDN_DEVICE int64_t first_element() {
    return block_x() * kThreads + thread_index();
}
SDN_DEVICE int64_t element_stride() {
    return grid_x() * kThreads;
}

struct Terms {
    int count;
    const void* data[kMostInputs];
    int32_t dtype[kMostInputs];
    double coefficient[kMostInputs];
};

SDN_DEVICE void store_rounded_once(void* out, int32_t dtype, int64_t i, double value) {
    if (dtype == SDN_FLOAT32)
        static_cast<float*>(out)[i] = static_cast<float>(value);
    else
        store_float(out, dtype, i, float_rounded_to_odd(value));
}

SDN_KERNEL void sum_terms(void* out, int32_t dtype, int64_t count, Terms terms) {
    for (int64_t i = first_element(); i < count; i += element_stride()) {
        double sum = 0;
        SDN_UNROLL
        for (int k = 0; k < kMostInputs; ++k)
            if (k < terms.count) sum += terms.coefficient[k] * static_cast<double>(load_float(terms.data[k], terms.dtype[k], i));
        store_rounded_once(out, dtype, i, sum);
    }
}

struct Operand {
    const void* data;
    int32_t dtype;
};

SDN_DEVICE double load_double(const Operand& x, int64_t i) {
    return static_cast<double>(load_float(x.data, x.dtype, i));
}

// `repeat` neighbours share a mask value; after `period` elements the mask begins again.
SDN_KERNEL void blend_elements(void* out, int32_t dtype, int64_t count, Operand a, Operand b, Operand mask, int64_t period,
                               int64_t repeat) {
    for (int64_t i = first_element(); i < count; i += element_stride()) {
        const double share = load_double(mask, i % period / repeat);
        store_rounded_once(out, dtype, i, (1.0 - share) * load_double(a, i) + share * load_double(b, i));
    }
}

SDN_KERNEL void clamp_elements(float* out, const float* x, int64_t count, float low, float high) {
    for (int64_t i = first_element(); i < count; i += element_stride()) {
        const float value = x[i] < low ? low : x[i];  // in this order NaN stays NaN
        out[i] = value > high ? high : value;
    }
}

SDN_KERNEL void pixels_to_bytes(uint8_t* out, const void* x, int32_t dtype, int64_t count) {
    for (int64_t i = first_element(); i < count; i += element_stride()) {
        float value = load_float(x, dtype, i) * 0.5f + 0.5f;
        value = value > 0.0f ? value : 0.0f;  // NaN too
        value = value < 1.0f ? value : 1.0f;
        out[i] = static_cast<uint8_t>(rintf(value * 255.0f));  // half to even
    }
}

SDN_KERNEL void clear_flag(int32_t* flag) {
    if (thread_index() == 0) *flag = 0;
}

// Every thread that finds one writes the same value.
SDN_KERNEL void flag_nonfinite(int32_t* flag, const void* x, int bytes, uint64_t exponent_mask, int64_t count) {
    bool found = false;
    for (int64_t i = first_element(); i < count; i += element_stride())
        found = found || (load_bits(x, bytes, i) & exponent_mask) == exponent_mask;
    if (found) *flag = 1;
}

}  // namespace

void linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients, int32_t count) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    Terms terms{};
    terms.count = count;
    for (int32_t k = 0; k < count; ++k) {
        terms.data[k] = inputs[k].data;
        terms.dtype[k] = inputs[k].dtype;
        terms.coefficient[k] = coefficients[k];
    }
    const int64_t n = element_count(out);
    launch(queue, "linear_combination", sum_terms, grid_for(queue, n), kThreads, 0, out.data, out.dtype, n, terms);
}

void blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int64_t n = element_count(out), period = mask.shape[0] == 1 ? n / out.shape[0] : n;
    launch(queue, "blend", blend_elements, grid_for(queue, n), kThreads, 0, out.data, out.dtype, n, Operand{a.data, a.dtype},
           Operand{b.data, b.dtype}, Operand{mask.data, mask.dtype}, period, out.shape[3] / mask.shape[3]);
}

void clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int64_t n = element_count(x);
    launch(queue, "clamp", clamp_elements, grid_for(queue, n), kThreads, 0, static_cast<float*>(out.data),
           static_cast<const float*>(x.data), n, low, high);
}

void image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int64_t n = element_count(x);
    launch(queue, "image_to_uint8", pixels_to_bytes, grid_for(queue, n), kThreads, 0, static_cast<uint8_t*>(out.data), x.data, x.dtype, n);
}

void find_nonfinite(Exec& exec, int32_t* flag, const sdn_tensor& x) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    launch(queue, "clear_flag", clear_flag, Grid{}, kWarpThreads, 0, flag);
    if (!is_float_dtype(x.dtype)) return;
    const int64_t n = element_count(x);
    const uint64_t mask = x.dtype == SDN_FLOAT32    ? 0x7f800000u
                          : x.dtype == SDN_FLOAT16  ? 0x7c00u
                          : x.dtype == SDN_BFLOAT16 ? 0x7f80u
                                                    : 0x7ff0000000000000u;
    launch(queue, "find_nonfinite", flag_nonfinite, grid_for(queue, n), kThreads, 0, flag, x.data, static_cast<int>(dtype_bytes(x.dtype)),
           mask, n);
}

}  // namespace sdn::cuda::SDN_TARGET
