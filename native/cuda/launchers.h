// The launchers of one target, each in the .cu file of its op; packing in pack.cu.
#pragma once

#include "cuda/ops.h"
#include "cuda/primitives/target.h"

namespace sdn::cuda::SDN_TARGET {

void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const MatrixWeight& weight, const sdn_tensor* channel_add,
            const sdn_tensor* residual, const sdn_conv2d_params& params);
void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const MatrixWeight& weight,
            const sdn_tensor* residual, int32_t activation);
void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
               const sdn_attention_params& params);
void group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const NormWeight& weight, int32_t groups,
                float eps, int32_t activation);
void layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const NormWeight& weight, float eps);
void activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind);
void embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const EmbeddingWeight& token, const EmbeddingWeight* position);
void gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows);
void timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params);
void linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients, int32_t count);
void blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask);
void clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high);
void dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value);
void rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor);
void copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x);
void image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x);
void find_nonfinite(Exec& exec, int32_t* flag, const sdn_tensor& x);
void philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                   int32_t threads_per_multiprocessor);
void pack_rows(Queue& queue, const MatrixWeight& weight, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count);
void pack_bias(Queue& queue, const MatrixWeight& weight, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count);
void pack_phases(Queue& queue, const MatrixWeight& weight);
void unpack_rows(Queue& queue, const MatrixWeight& weight, void* values);
void unpack_bias(Queue& queue, const MatrixWeight& weight, float* bias);
double peak_loop(Queue& queue, int64_t steps);
void convert(Queue& queue, void* out, int32_t out_dtype, const void* x, int32_t x_dtype, int64_t count);

}  // namespace sdn::cuda::SDN_TARGET
