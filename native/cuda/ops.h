// The ops of the CUDA backend. Each is a launcher in the .cu file of its name; cuda/table.cu lists them once per target (gpu, emulated).
// Shapes and dtypes have been checked by api/. A launcher takes its scratch (exec_scratch), returns if the exec measures
// (exec_measuring), launches on exec_queue(exec), and gives the scratch back (exec_release): the stream keeps the order.
// Activations are float32, float16 or bfloat16, the same for all of one op unless said otherwise.
#pragma once

#include "cuda/kernel_api.h"

namespace sdn::cuda {

struct Ops {
    const char* target;  // "gpu", "emulated"

    void (*conv2d)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const MatrixWeight& weight, const sdn_tensor* channel_add,
                   const sdn_tensor* residual, const sdn_conv2d_params& params);
    void (*linear)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const MatrixWeight& weight,
                   const sdn_tensor* residual, int32_t activation);
    void (*attention)(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
                      const sdn_attention_params& params);
    void (*group_norm)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const NormWeight& weight,
                       int32_t groups, float eps, int32_t activation);
    void (*layer_norm)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const NormWeight& weight, float eps);
    void (*activation)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind);
    // An id out of range gives a row of NaN: ids are on the device.
    void (*embedding)(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const EmbeddingWeight& token,
                      const EmbeddingWeight* position);
    void (*gather_rows)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows);
    void (*timestep_embedding)(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params);
    // Each tensor has a floating dtype of its own (float64 excepted); sums in double.
    void (*linear_combination)(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients, int32_t count);
    // As linear_combination; mask may have 1 sample or 1 channel.
    void (*blend)(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask);
    void (*clamp)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high);                     // float32
    void (*dynamic_threshold)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value);  // float32
    // out and guided float32; cond float32, float16 or bfloat16.
    void (*rescale_guidance)(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor);
    void (*copy)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x);  // all 7 dtypes, any strides, as cpu/copy.cpp
    void (*image_to_uint8)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x);
    // *flag = 1 if an element is NaN or infinite, else 0. flag: int32 on the device. x: any floating dtype.
    void (*find_nonfinite)(Exec& exec, int32_t* flag, const sdn_tensor& x);
    // See sdn_philox_normal().
    void (*philox_normal)(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                          int32_t threads_per_multiprocessor);

    // Loading. Addresses are the device's. source: dense rows [row_count, in] or [row_count, in, kh, kw] of source_dtype (float32,
    // float16, bfloat16, float64); logical rows, for geglu all values first, then all gates.
    void (*pack_rows)(Queue& queue, const MatrixWeight& weight, const void* source, int32_t source_dtype, int64_t first_row,
                      int64_t row_count);
    void (*pack_bias)(Queue& queue, const MatrixWeight& weight, const void* source, int32_t source_dtype, int64_t first_row,
                      int64_t row_count);
    void (*pack_phases)(Queue& queue, const MatrixWeight& weight);  // after all rows
    // The logical rows again: values [rows, in, kh, kw] in the storage dtype, bias [rows] float32.
    void (*unpack_rows)(Queue& queue, const MatrixWeight& weight, void* values);
    void (*unpack_bias)(Queue& queue, const MatrixWeight& weight, float* bias);
    // About 2^20 multiply-adds per thread-block step in registers, `steps` times; returns the operations done.
    double (*peak_loop)(Queue& queue, int64_t steps);
    void (*convert)(Queue& queue, void* out, int32_t out_dtype, const void* x, int32_t x_dtype, int64_t count);  // floating dtypes
};

}  // namespace sdn::cuda
