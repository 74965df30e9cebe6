#pragma once

#include "cpu/kernels.h"

namespace sdn::cpu::SDN_ISA {

void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const PackedMatrix& weight, const sdn_tensor* channel_add,
            const sdn_tensor* residual, const sdn_conv2d_params& params);

}  // namespace sdn::cpu::SDN_ISA
