// The kernels of one instruction set, in its own namespace. Every file of SDN_CPU_KERNEL_SOURCES includes this.
#pragma once

#include "cpu/kernels.h"

namespace sdn::cpu::SDN_ISA {

extern const int32_t panel_width;
#if defined(SDN_MULTIPLIES_PAIRS)
constexpr bool multiplies_pairs = true;
#else
constexpr bool multiplies_pairs = false;
#endif
extern const bool multiplies_bytes, multiplies_halves;

void pack_rows(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count);
void unpack(const PackedMatrix& m, void* values);
int64_t scale_blocks(int64_t columns);
void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const PackedMatrix& weight, const sdn_tensor* channel_add,
            const sdn_tensor* residual, const sdn_conv2d_params& params);
void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const PackedMatrix& weight,
            const sdn_tensor* residual, int32_t activation);
void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
               const sdn_attention_params& params, int32_t operands);
void group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const NormWeight& weight, int32_t groups,
                float eps, int32_t activation);
void layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const NormWeight& weight, float eps);
void activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind);

}  // namespace sdn::cpu::SDN_ISA
