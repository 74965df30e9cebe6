// CPU ops that need no wide instructions: compiled once, for every machine. Shapes and dtypes have been checked by api/. As a kernel
// does, each takes its scratch, returns if the exec measures, then runs.
#pragma once

#include "core/exec.h"
#include "cpu/kernels.h"
#include "sdn.h"

namespace sdn::cpu {

// out[i] = (out_dtype) x[i] for count packed elements. To an integer: towards zero, out of range to the nearest bound, NaN to 0.
void convert(void* out, int32_t out_dtype, const void* x, int32_t x_dtype, int64_t count);

void copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x);
void image_to_uint8(Exec& exec, const sdn_tensor& out, const sdn_tensor& x);
bool is_finite(Exec& exec, const sdn_tensor& x);
void linear_combination(Exec& exec, const sdn_tensor& out, const sdn_tensor* inputs, const double* coefficients, int32_t count);
void blend(Exec& exec, const sdn_tensor& out, const sdn_tensor& a, const sdn_tensor& b, const sdn_tensor& mask);
void clamp(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float low, float high);
void dynamic_threshold(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, float ratio, float max_value);
void rescale_guidance(Exec& exec, const sdn_tensor& out, const sdn_tensor& guided, const sdn_tensor& cond, float factor);

void embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const EmbeddingWeight& token, const EmbeddingWeight* position);
void gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows);
void timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params);

// Both numbers of the GPU must be given: at least 1 multiprocessor of at least 256 threads. offset: a multiple of 4.
void philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                   int32_t threads_per_multiprocessor);

}  // namespace sdn::cpu
